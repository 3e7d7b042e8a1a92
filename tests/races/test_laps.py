"""The lap that a runner is in, and checkpoints that several laps pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from bench.truth.runs import Fix
from runners.races.course import Course
from tests.races.bob import (
    GUN,
    METRES_PER_DEGREE_EAST,
    METRES_PER_DEGREE_NORTH,
    OUT_AND_BACK,
    along,
    at,
    course,
    every_ten_minutes,
    follow,
    guide,
    laps_of,
    running,
    splits,
)

LAPS = laps_of(500, 3)


def test_a_checkpoint_of_the_first_lap_is_passed_in_each_lap() -> None:
    state, seen = follow(guide(LAPS, 700), running(LAPS, 0, 2_100))

    passed = [(p.mark, p.pass_number, round(p.distance)) for p in splits(seen)]
    assert passed == [
        (0, 1, 0),
        (1, 1, 700),
        (1, 2, 2_700),
        (1, 3, 4_700),
        (99, 1, 6_000),
    ]


def test_a_checkpoint_of_a_later_lap_is_passed_in_that_lap_only() -> None:
    bobs = guide(LAPS, 700, 2_700, 3_100)

    assert [(p.mark, p.pass_number, round(p.distance)) for p in bobs.passes] == [
        (0, 1, 0),
        (1, 1, 700),
        (2, 1, 2_700),
        (3, 1, 3_100),
        (1, 2, 4_700),
        (99, 1, 6_000),
    ]


def test_the_way_back_is_no_lap() -> None:
    assert [(p.mark, p.pass_number) for p in guide(OUT_AND_BACK, 700).passes] == [
        (0, 1),
        (1, 1),
        (99, 1),
    ]


@pytest.mark.parametrize("back", [500, 900])
def test_a_false_fix_of_a_slow_phone_loses_no_lap(back: int) -> None:
    laps = laps_of(940, 4)
    run = along(laps, *((s, max(2.1 * s, 0.0)) for s in range(-600, 6_001, 600)))
    # At 3,600 s and 7,560 m, behind the place of ten minutes before.
    run[7] = Fix(run[7].t, *laps.point_at(6_300 - back))
    state, seen = follow(guide(laps, 8_000, 12_000), run)

    assert state.progress == pytest.approx(12_600, abs=1)
    assert [passing.mark for passing in splits(seen)] == [0, 1, 2]


def test_who_runs_on_after_a_long_walk_loses_no_lap() -> None:
    laps = laps_of(875, 6)
    walk = [(s, 1.5 * s) for s in range(30, 2_400, 30)]
    run = [(s, 3_600 + 4.6 * (s - 2_400)) for s in range(2_400, 3_600, 30)]
    state, seen = follow(guide(laps), along(laps, *walk, *run))

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(run[-1][1], abs=20)


def test_who_is_off_the_course_after_a_dead_zone_loses_no_lap() -> None:
    laps = laps_of(875, 6)
    before = [(s, 3.0 * s) for s in range(5, 1_100, 5)]
    after = [(s, 3.0 * s) for s in range(3_520, 3_800, 5)]
    beside = [at(s, -300, 400) for s in range(3_300, 3_520, 5)]
    run = along(laps, *before)
    state, seen = follow(guide(laps), [*run, *beside, *along(laps, *after)])

    assert seen[len(run) + len(beside) - 1].progress == pytest.approx(9_900, abs=600)
    assert seen[-1].progress == pytest.approx(after[-1][1], abs=20)


def test_who_stands_at_the_end_of_a_lap_runs_no_lap() -> None:
    laps = laps_of(600, 4)
    run = every_ten_minutes(laps, 1_800, 3_600, 5_400, *[7_200] * 4)
    state, seen = follow(guide(laps, 9_000), run)

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(7_200, abs=20)


TRACK = laps_of(100, 25)


def test_nobody_waits_at_the_start_of_a_track_long_after_the_gun() -> None:
    # Each lap of the first two fixes ends just behind the line.
    ran = [(-292, 0), (1_013, 3_980), (1_564, 5_990), (2_125, 8_030), (2_500, 9_450)]
    fixes = along(TRACK, *ran)
    _, seen = follow(guide(TRACK), fixes)

    assert splits(seen)[0].at <= GUN + 120_000


def track(
    every: int, until: int, ran: Callable[[int], float], line: Course = TRACK
) -> list[Fix]:
    """Return fixes with errors of a few metres on a track of 400 m, or other laps."""
    random, fixes = Random(1), []
    for second in range(-300, until, every):
        lat, lng = line.point_at(max(ran(second), 0))
        north, east = random.gauss(0, 3), random.gauss(0, 3)
        fixes.append(
            Fix(
                GUN + 1000 * second,
                lat + north / METRES_PER_DEGREE_NORTH,
                lng + east / METRES_PER_DEGREE_EAST,
                5.0,
            )
        )
    return fixes


@pytest.mark.parametrize("every", [30, 60, 120])
def test_who_stands_at_the_start_of_a_track_runs_no_laps(every: int) -> None:
    state, seen = follow(guide(TRACK), track(every, 2_400, lambda _: 0.0))

    assert state.status == "registered"
    assert all(one.progress is None for one in seen)


@pytest.mark.parametrize("laps", [TRACK, laps_of(940, 4)])
@pytest.mark.parametrize("every", [120, 600])
def test_who_stands_at_the_start_of_laps_runs_none(every: int, laps: Course) -> None:
    fixes = track(every, 7_200, lambda _: 0.0, laps)
    state, seen = follow(guide(laps), fixes)

    assert state.status == "registered"
    assert not splits(seen)


def test_who_waits_at_the_start_of_a_track_has_the_errors_of_their_phone() -> None:
    fixes = track(120, 2_400, lambda _: 0.0)
    # Farther from each other than from the waiting place, with a stated error, in a
    # spell of noise, and on the other side of the track.
    errors = (8, 385, 5.0), (9, 21, 5.0), (16, 350, 60.0), (12, 60, 5.0), (19, 200, 5.0)
    for number, metres, accuracy in errors:
        lat, lng = TRACK.point_at(metres)
        fixes[number] = replace(fixes[number], lat=lat, lng=lng, accuracy=accuracy)
    state, seen = follow(guide(TRACK), fixes)

    assert state.status == "registered"
    assert all(one.progress is None for one in seen)


def test_a_spell_of_errors_along_the_course_is_not_a_start() -> None:
    # The errors grow within 20 s, stay for a minute and a half, and vanish.
    fixes = track(30, 600, lambda s: 35 * min(max((s - 300) / 20, 0), 1) * (s < 410))
    state, seen = follow(guide(TRACK), fixes)

    assert state.status == "registered"
    assert not splits(seen)


@pytest.mark.parametrize("pace", [3.2, 3.3])
def test_a_runner_who_is_near_the_start_at_each_fix_loses_no_lap(pace: float) -> None:
    fixes = track(120, 1_500, lambda second: pace * (second - 50))
    _, seen = follow(guide(TRACK), fixes)

    ran = pace * ((fixes[-1].t - GUN) / 1000 - 50)
    assert seen[-1].progress == pytest.approx(ran, abs=30)


def test_a_course_that_leaves_a_track_after_one_lap_is_followed() -> None:
    line = course((0, 0), (100, 0), (100, 100), (0, 100), (0, 0), (-10_000, 0))
    fixes = along(line, *((s, max(3 * s - 30, 0)) for s in range(-600, 3_600, 600)))
    state, seen = follow(guide(line, 5_000), [*fixes, *along(line, (3_600, 10_400))])

    assert state.status == "finished"
    assert [passing.mark for passing in splits(seen)] == [0, 1, 99]


@pytest.mark.parametrize("late", [300, 600])
def test_who_starts_late_on_a_track_is_not_laps_ahead(late: int) -> None:
    fixes = track(60, late + 900, lambda second: 3.0 * (second - late))
    _, seen = follow(guide(TRACK), fixes)

    ran = 3.0 * ((fixes[-1].t - GUN) / 1000 - late)
    assert seen[-1].progress == pytest.approx(ran, abs=30)


@pytest.mark.parametrize("pace", [1.2, 1.4])
@pytest.mark.parametrize("every", [60, 120])
def test_a_walker_on_a_track_gets_no_lap_that_they_did_not_walk(
    pace: float, every: int
) -> None:
    fixes = track(every, 1_500, lambda second: pace * second)
    _, seen = follow(guide(TRACK), fixes)

    walked = pace * (fixes[-1].t - GUN) / 1000
    assert seen[-1].progress == pytest.approx(walked, abs=30)


@pytest.mark.parametrize("pace", [3.5, 4.1])
def test_a_runner_who_stands_at_the_finish_of_a_track_has_finished(pace: float) -> None:
    finish = TRACK.length - 20
    until = round(finish / pace + 1_560)
    fixes = track(600, until, lambda second: min(pace * second, finish))
    state, _ = follow(guide(TRACK), fixes)

    assert state.status == "finished"


def test_a_split_is_as_uncertain_as_the_lap_that_it_is_in() -> None:
    ran = [(s, max(4.0 * s, 0)) for s in range(-260, 1_500, 120)]
    fixes = along(TRACK, *ran)
    _, seen = follow(guide(TRACK, 1_000, 2_000), fixes)

    passed = next(one for one in seen if any(s.distance == 2_000 for s in one.splits))
    assert passed.uncertainty is not None and passed.uncertainty > 200
    assert passed.splits[0].uncertainty >= 2 * passed.uncertainty / 4.0
