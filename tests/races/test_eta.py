from __future__ import annotations

import math

import numpy as np
import pytest

from bench.arrival import AHEAD, COURSES, KINDS, score
from runners.races.course import Course
from runners.races.eta import Arrival, Passed, Slopes, arrivals, slope_cost
from tests import courses

# Bob runs a kilometre in five minutes.
PACE = 0.3
DEGREE = 111_195.0


def straight(length: float, hills: int = 0, height: float = 0.0) -> Course:
    """A course due north, flat or over that many hills of a height; no heights: 0."""
    points = []
    for step in range(401):
        part = step / 400
        up = abs((part * hills + 0.5) % 1 - 0.5) * 2
        points.append((part * length / DEGREE, 0.0, up * height if hills else None))
    return Course(points, length)


def even(until: float, pace: float = PACE, step: float = 1_000) -> list[Passed]:
    """Return Bob's samples as far as that."""
    return [Passed(d * pace, d) for d in np.arange(0, until + 1, step)]


FLAT = Slopes(straight(42_195))


def one(place: float, samples: list[Passed], **given: object) -> Arrival:
    now = samples[-1].time if samples else 0.0
    (found,) = arrivals([place], samples, FLAT, **({"now": now} | given))  # type: ignore[arg-type]
    return found


def test_even_pace_arrives_at_that_pace() -> None:
    found = one(30_000, even(20_000))
    assert found.status == "expected"
    assert found.at == pytest.approx(30_000 * PACE, rel=0.005)
    assert found.earliest and found.latest
    assert found.earliest < 30_000 * PACE < found.latest


def test_range_narrows_on_the_way() -> None:
    widths = []
    for here in (5_000, 10_000, 20_000, 28_000):
        found = one(30_000, even(here))
        assert found.earliest and found.latest
        widths.append(found.latest - found.earliest)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 120 < widths[0]


def test_recent_pace_counts_for_more_than_the_average() -> None:
    slow = [*even(20_000), *[Passed(6_000 + d * 0.4, 20_000 + d) for d in (1e3, 3e3)]]
    naive = slow[-1].time * 30_000 / 23_000
    truth = slow[-1].time + 7_000 * 0.4
    found = one(30_000, slow)
    assert found.at
    assert naive < found.at <= truth + 200
    assert abs(found.at - truth) < abs(naive - truth) / 2


def test_a_climb_ahead_makes_it_later() -> None:
    # Four hills, 5 km up and 5 km down, at 6 %; Bob has run two of them.
    course = straight(40_000, hills=4, height=300)
    slopes = Slopes(course)
    marks = np.arange(0, 40_001, 1_000.0)
    truth = PACE * (marks + slopes.extra(marks))
    samples = [Passed(*both) for both in zip(truth[:21], marks[:21], strict=True)]
    top, end = arrivals([25_000, 30_000], samples, slopes, now=float(truth[20]))
    assert top.at and end.at
    assert top.at == pytest.approx(truth[25], rel=0.01)
    assert end.at == pytest.approx(truth[30], rel=0.01)
    naive = truth[20] * 25 / 20
    assert abs(naive - truth[25]) > 150


def test_slopes_cost_what_was_measured() -> None:
    # Minetti et al. 2002, their polynomial at 0 and 20 %: 3.6 and 9.0 J/kg/m.
    assert slope_cost(np.array([0.0]))[0] == pytest.approx(0)
    assert slope_cost(np.array([0.2]))[0] == pytest.approx(9.0 / 3.6 - 1, abs=0.02)
    assert slope_cost(np.array([-0.1]))[0] < 0
    assert slope_cost(np.array([9.0]))[0] == slope_cost(np.array([0.45]))[0]


def test_a_course_without_heights_is_flat() -> None:
    assert FLAT.extra(np.array([0.0, 20_000.0, 42_195.0])).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("samples", "given", "status"),
    [
        ([], {"now": -60.0}, "not_started"),
        (even(0), {"status": "registered"}, "not_started"),
        (even(1_000), {}, "too_early"),
        (even(10_000), {"now": 3_000 + 601.0}, "silent"),
        (even(10_000), {"now": 3_000 + 601.0, "heard": 3_590.0}, "off_course"),
        (even(10_000), {"status": "finished"}, "finished"),
        (even(10_000), {"status": "dnf"}, "dnf"),
        ([], {"status": "dns"}, "dns"),
    ],
)
def test_arrival_says_why_there_is_no_range(
    samples: list[Passed], given: dict[str, object], status: str
) -> None:
    found = one(30_000, samples, **given)
    assert (found.status, found.at, found.earliest) == (status, None, None)


def test_each_pass_has_its_own_answer() -> None:
    found = arrivals([5_500, 36_500], even(10_000), FLAT, now=3_000)
    assert [(a.pass_number, a.status) for a in found] == [
        (1, "passed"),
        (2, "expected"),
    ]
    assert found[0].at == pytest.approx(1_650)
    assert (found[0].earliest, found[0].latest) == (1_500, 1_800)
    assert found[1].at == pytest.approx(36_500 * PACE, rel=0.02)


def test_who_has_dropped_out_still_passed_what_they_passed() -> None:
    found = arrivals([5_000, 20_000], even(10_000), FLAT, now=9_000, status="dnf")
    assert [a.status for a in found] == ["passed", "dnf"]


def test_who_is_due_is_due_now() -> None:
    found = one(10_100, even(10_000), now=3_000 + 300.0)
    assert (found.earliest, found.at, found.latest) == (3_300, 3_300, 3_300)


def test_standing_still_is_no_arrival_in_the_past() -> None:
    viewer = [*even(10_000), Passed(3_300, 10_003), Passed(3_500, 9_998)]
    found = one(20_000, viewer)
    assert found.at and found.at > 3_500 + 9_000 * PACE


def test_doubt_about_the_start_widens_the_range() -> None:
    sure, unsure = even(8_000, step=4_000), even(8_000, step=4_000)
    unsure[0] = Passed(0, 0, doubt=300)
    widths = []
    for samples in (sure, unsure):
        found = one(20_000, samples)
        assert found.earliest and found.latest
        widths.append(found.latest - found.earliest)
    assert widths[0] < widths[1]


def test_nothing_strange_breaks_it() -> None:
    dice = np.random.default_rng(3)
    for _ in range(50):
        samples = [Passed(0, 0)] + [
            Passed(t, float(d), float(dice.uniform(0, 500)))
            for t, d in zip(
                np.sort(dice.uniform(0, 9_000, 12)),
                dice.uniform(0, 42_195, 12),
                strict=True,
            )
        ]
        for found in arrivals([100, 21_000, 42_195], samples, FLAT, now=9_000):
            for value in (found.at, found.earliest, found.latest):
                assert value is None or math.isfinite(value)


@pytest.mark.parametrize("name", COURSES)
def test_arrival_beats_the_average_since_the_start(name: courses.Name) -> None:
    """The short form of `python -m bench.arrival`, with room for the small sample."""
    table = score(name, runners=10 if name == "boston" else 5, seed=3)
    ratio = {
        kind: float(np.mean([table[kind, ahead].ratio for ahead in AHEAD]))
        for kind in KINDS
    }
    assert ratio["even pace"] < 1.2
    assert max(ratio[kind] for kind in ("even effort", "fading", "wall")) < 0.9
    assert ratio["walks"] < 1.0
    held = float(np.mean([cell.held for cell in table.values()]))
    assert 0.65 < held < 0.95


def test_who_may_hit_a_wall_yet_may_be_later_than_what_was_seen_says() -> None:
    def later_than_earlier(here: int) -> float:
        found = one(here + 8_000, even(here))
        assert found.at and found.earliest and found.latest
        return (found.latest - found.at) / (found.at - found.earliest)

    # The walls are between a half and four fifths of the way.
    assert later_than_earlier(24_000) > 1.5
    assert later_than_earlier(34_000) == pytest.approx(1, abs=0.3)
