from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bench.arrival import steady_ratio
from runners.races.arrival import ranges
from runners.races.arrival.eta import (
    Arrival,
    Known,
    Probable,
    arrivals,
    latest_arrival,
    probable_place,
)
from runners.races.arrival.pacing import shipped
from runners.races.arrival.ranges import Curve, Passed, times_at
from runners.races.arrival.slopes import Slopes, slope_cost
from runners.races.course import Course

# Bob's pace in seconds per metre, five minutes per kilometre.
PACE = 0.3
METRES_PER_DEGREE = 111_195.0
# Heights in metres.
UP_AND_DOWN = (0, 120, 0, 120, 0, 1_000)


def straight(length: float, hills: int = 0, height: float = 0.0) -> Course:
    """Return a course due north over hills; without hills it has no heights."""
    points = []
    for step in range(401):
        part = step / 400
        up = abs((part * hills + 0.5) % 1 - 0.5) * 2
        points.append(
            (part * length / METRES_PER_DEGREE, 0.0, up * height if hills else None)
        )
    return Course(points, length)


def even(until: float, pace: float = PACE, step: float = 1_000) -> list[Passed]:
    """Return Bob's samples up to a distance, at an even pace."""
    return [Passed(d * pace, d) for d in np.arange(0, until + 1, step)]


FLAT = Slopes(straight(42_195))
SHORT = Slopes(straight(20_000))


def known(samples: list[Passed], slopes: Slopes, now: float, **given: Any) -> Known:
    return Known(samples, slopes, shipped(), now, **given)


def one(
    place: float, samples: list[Passed], slopes: Slopes = FLAT, **given: Any
) -> Arrival:
    given = {"now": samples[-1].time if samples else 0.0} | given
    (found,) = arrivals([place], known(samples, slopes, **given))
    return found


def test_even_pace_in_a_short_race_is_extrapolated() -> None:
    found = one(18_000, even(10_000), SHORT)
    assert found.status == "expected"
    assert found.at == pytest.approx(18_000 * PACE, rel=0.001)
    assert found.earliest and found.latest
    assert found.earliest < 18_000 * PACE < found.latest


def test_paces_fade_in_a_marathon() -> None:
    """In two marathons the second half took 6 % longer (median of 24,813 finishers)."""
    found = one(42_195, even(21_000))
    naive = 42_195 * PACE
    assert found.at and found.latest
    assert naive * 1.02 < found.at < naive * 1.06 < found.latest


def test_slower_runners_have_wider_ranges() -> None:
    def width_share(pace: float) -> float:
        found = one(42_195, even(21_000, pace))
        assert found.earliest and found.latest and found.at
        return (found.latest - found.earliest) / found.at

    assert width_share(0.22) < width_share(0.33) < width_share(0.44)


@pytest.mark.parametrize("length", [5_000.0, 10_000.0, 20_000.0])
@pytest.mark.parametrize("wobble", [0.01, 0.04])
def test_steady_short_runs_are_predicted_as_well_as_by_the_average(
    length: float, wobble: float
) -> None:
    assert steady_ratio(length, 40, wobble) < 1.02


def test_the_range_narrows_on_the_way() -> None:
    widths = []
    for here in (5_000, 10_000, 20_000, 28_000):
        found = one(30_000, even(here))
        assert found.earliest and found.latest
        widths.append(found.latest - found.earliest)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 120 < widths[0]


def test_the_recent_pace_counts_more_than_the_average() -> None:
    slow = [*even(20_000), *[Passed(6_000 + d * 0.4, 20_000 + d) for d in (1e3, 3e3)]]
    naive = slow[-1].time * 30_000 / 23_000
    truth = slow[-1].time + 7_000 * 0.4
    found = one(30_000, slow)
    assert found.at
    assert naive < found.at <= truth + 200
    assert abs(found.at - truth) < abs(naive - truth) / 2


def test_a_climb_ahead_delays_the_arrival() -> None:
    # Four hills, 2.5 km up and 2.5 km down, at 6 %; Bob has run two of them.
    course = straight(20_000, hills=4, height=150)
    slopes = Slopes(course)
    marks = np.arange(0, 20_001, 500.0)
    truth = PACE * (marks + slopes.extra(marks))
    samples = [Passed(*both) for both in zip(truth[:21], marks[:21], strict=True)]
    top, end = arrivals([12_500, 15_000], known(samples, slopes, float(truth[20])))
    assert top.at and end.at
    assert top.at == pytest.approx(truth[25], rel=0.01)
    assert end.at == pytest.approx(truth[30], rel=0.01)
    naive = truth[20] * 25 / 20
    assert abs(naive - truth[25]) > 100


def test_a_climb_ahead_takes_time_after_rests_on_the_descents() -> None:
    # 8 km of hills at 6 %, which the descents have taken twice as long, then 25 % up.
    points = [
        (
            metres / METRES_PER_DEGREE,
            0.0,
            float(np.interp(metres, (0, 2e3, 4e3, 6e3, 8e3, 12e3), UP_AND_DOWN)),
        )
        for metres in range(0, 12_001, 50)
    ]
    slopes = Slopes(Course(points, 12_000))
    times = (0, 600, 1_800, 2_400, 3_600)
    samples = [Passed(time, n * 2_000.0) for n, time in enumerate(times)]
    found = one(9_000, samples, slopes)
    assert found.earliest and found.at and found.latest
    assert 3_600 + 200 < found.earliest < found.at < found.latest < 3_600 + 1_000
    # A place that the samples are past, because a split came late.
    passed = latest_arrival(7_900, tuple(samples), slopes, prior=shipped())
    assert 3_000 < passed <= 3_600


def test_slope_costs_match_the_measured_ones() -> None:
    # Minetti et al. 2002, their polynomial at 0 and 20 %: 3.6 and 9.0 J/kg/m.
    assert slope_cost(np.array([0.0]))[0] == pytest.approx(0)
    assert slope_cost(np.array([0.2]))[0] == pytest.approx(9.0 / 3.6 - 1, abs=0.02)
    assert slope_cost(np.array([-0.1]))[0] < 0
    assert slope_cost(np.array([9.0]))[0] == slope_cost(np.array([0.45]))[0]


def test_a_course_without_heights_is_flat() -> None:
    assert FLAT.extra(np.array([0.0, 20_000.0, 42_195.0])).tolist() == [0, 0, 0]


@pytest.mark.parametrize("last_fix_at", [None, 1_000.0])
def test_a_runner_seen_by_a_mat_is_expected_until_the_end_of_the_range(
    last_fix_at: float | None,
) -> None:
    samples = even(10_000)
    found = one(20_000, samples, now=4_500.0, last_fix_at=last_fix_at)
    assert found.status == "expected" and found.latest
    soon = one(20_000, samples, now=found.latest - 1, last_fix_at=last_fix_at)
    assert (soon.status, soon.earliest) == ("expected", found.latest - 1)
    late = one(20_000, samples, now=found.latest + 1, last_fix_at=last_fix_at)
    assert (late.status, late.at) == ("silent", None)


@pytest.mark.parametrize(
    ("samples", "given", "status"),
    [
        ([], {"now": -60.0}, "not_started"),
        (even(0), {"status": "registered"}, "not_started"),
        (even(1_000), {}, "too_early"),
        ([Passed(0, 0, 700), Passed(310, 2_500)], {}, "too_early"),
        (even(10_000), {"now": 3_000 + 601.0, "last_fix_at": 3_000.0}, "silent"),
        (even(10_000), {"now": 3_000 + 601.0, "last_fix_at": 3_590.0}, "off_course"),
        (even(10_000), {"status": "finished"}, "finished"),
        (even(10_000), {"status": "dnf"}, "dnf"),
        ([], {"status": "dns"}, "dns"),
        ([], {"status": "dsq"}, "dsq"),
    ],
)
def test_an_arrival_without_a_range_has_a_reason(
    samples: list[Passed], given: dict[str, Any], status: str
) -> None:
    found = one(30_000, samples, **given)
    assert (found.status, found.at, found.earliest) == (status, None, None)


def test_a_silent_runner_is_probably_where_the_pace_leads() -> None:
    samples = even(10_000)

    def at(silence: float, **given: Any) -> Probable | None:
        now = samples[-1].time + silence
        return probable_place(known(samples, SHORT, now, **given))

    soon, later = at(180.0), at(1_200.0)
    assert soon and later
    assert soon.distance == pytest.approx(10_000 + 180 / PACE, abs=20)
    assert 10_000 < soon.nearest < soon.distance < soon.farthest < later.distance
    assert soon.farthest - soon.nearest < later.farthest - later.nearest
    # At each end of the range, the runner arrives there now.
    edge = one(later.farthest, samples, SHORT)
    assert edge.earliest == pytest.approx(samples[-1].time + 1_200.0, abs=10)
    # Nobody is beyond the finish.
    end = at(3_500.0)
    assert end and end.farthest == 20_000
    assert at(60.0) is None and at(3_700.0) is None
    assert at(180.0, status="finished") is None
    # The phone sends, from off the course.
    assert at(180.0, last_fix_at=samples[-1].time + 170.0) is None
    assert probable_place(known(even(1_000), SHORT, 600.0)) is None


def test_each_pass_has_a_separate_arrival() -> None:
    found = arrivals([5_500, 18_500], known(even(10_000), SHORT, 3_000))
    assert [(a.pass_number, a.status) for a in found] == [
        (1, "passed"),
        (2, "expected"),
    ]
    assert found[0].at == pytest.approx(1_650)
    assert (found[0].earliest, found[0].latest) == (1_500, 1_800)
    assert found[1].at == pytest.approx(18_500 * PACE, rel=0.02)


def test_a_finisher_who_stands_at_the_line_passed_it_once() -> None:
    finish = Passed(20_000 * PACE, 20_000.0)
    standing = [Passed(finish.time + seconds, 20_000.0) for seconds in (60, 600)]
    found = one(20_000, [*even(19_000), finish, *standing], SHORT, status="finished")
    assert (found.status, found.at) == ("passed", finish.time)


def test_a_dropped_out_runner_keeps_their_passed_checkpoints() -> None:
    found = arrivals([5_000, 20_000], known(even(10_000), FLAT, 9_000, status="dnf"))
    assert [a.status for a in found] == ["passed", "dnf"]


def test_an_overdue_runner_is_expected_now() -> None:
    found = one(10_100, even(10_000), now=3_000 + 300.0)
    assert (found.earliest, found.at, found.latest) == (3_300, 3_300, 3_300)


def test_a_standing_runner_is_not_expected_in_the_past() -> None:
    samples = [*even(10_000), Passed(3_300, 10_003), Passed(3_500, 9_998)]
    found = one(20_000, samples)
    assert found.at and found.at > 3_500 + 9_000 * PACE


def test_uncertainty_of_the_start_widens_the_range() -> None:
    sure, unsure = even(8_000, step=4_000), even(8_000, step=4_000)
    unsure[0] = Passed(0, 0, doubt=300)
    widths = []
    for samples in (sure, unsure):
        found = one(20_000, samples)
        assert found.earliest and found.latest
        widths.append(found.latest - found.earliest)
    assert widths[0] < widths[1]


def test_curves_of_many_runners_are_computed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slopes = Slopes(straight(10_000, 3, 40))
    field = [even(until, pace) for until, pace in ((3_000, 0.3), (9_000, 0.4))]
    field.append([*even(9_000), Passed(3_400, 10_000)])
    alone = [Curve.of_many([samples], slopes, shipped())[0] for samples in field]
    computed = []

    def counted(*given: Any) -> Any:
        computed.append(given)
        return times_at(*given)

    monkeypatch.setattr(ranges, "times_at", counted)
    together = Curve.of_many(field, slopes, shipped())
    assert len(computed) == 1
    for one_of_many, curve in zip(together, alone, strict=True):
        assert one_of_many.times == pytest.approx(curve.times, abs=1e-3)
        assert one_of_many.distances == pytest.approx(curve.distances)
        assert np.diff(one_of_many.times).min() >= 0
    # The finish is passed: its time is no range.
    assert np.ptp(together[-1].times) == 0
    assert Curve.of_many([], slopes, shipped()) == []


def test_random_samples_give_finite_times() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        samples = [Passed(0, 0)] + [
            Passed(t, float(d), float(rng.uniform(0, 500)))
            for t, d in zip(
                np.sort(rng.uniform(0, 9_000, 12)),
                rng.uniform(0, 42_195, 12),
                strict=True,
            )
        ]
        for found in arrivals([100, 21_000, 42_195], known(samples, FLAT, 9_000)):
            for value in (found.at, found.earliest, found.latest):
                assert value is None or math.isfinite(value)
