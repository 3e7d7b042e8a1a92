"""Map matching: on the course, off it, and with held fixes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random

import orjson
import pytest

from bench.truth.runs import Fix
from runners.races.course import Course
from runners.races.progress import Guide, State
from tests.races.bob import (
    GUN,
    METRES_PER_DEGREE_EAST,
    METRES_PER_DEGREE_NORTH,
    OUT_AND_BACK,
    STRAIGHT,
    at,
    course,
    follow,
    guide,
    running,
    splits,
)

OUT_AND_BACK_10 = course((0, 0), (5_000, 0), (0, 0))
TRACK = course((0, 0), *[(100, 0), (100, 100), (0, 100), (0, 0)] * 25)

# -- on the course


def test_progress_follows_the_course() -> None:
    state, seen = follow(guide(STRAIGHT), running(STRAIGHT, -30, 600))

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(599 * 3 - 15, abs=3)
    assert seen[0].progress is None


def test_progress_is_in_certified_metres() -> None:
    certified = Course(STRAIGHT.points, length=10_100)
    state, seen = follow(guide(certified), running(STRAIGHT, -30, 600))

    assert seen[-1].progress == pytest.approx((599 * 3 - 15) * 1.01, abs=3)


def test_progress_of_an_out_and_back_turns_at_the_end() -> None:
    state, seen = follow(guide(OUT_AND_BACK), running(OUT_AND_BACK, 0, 1_000))

    assert seen[-1].progress == pytest.approx(999 * 3 - 15, abs=5)


def test_progress_after_a_silence_is_on_the_plausible_leg() -> None:
    fixes = running(OUT_AND_BACK, 0, 300) + running(OUT_AND_BACK, 900, 960)
    state, seen = follow(guide(OUT_AND_BACK), fixes)

    assert seen[-1].progress == pytest.approx(959 * 3 - 15, abs=5)


def test_progress_is_uncertain_while_two_legs_are_plausible() -> None:
    bobs = guide(OUT_AND_BACK)
    state, seen = follow(bobs, running(OUT_AND_BACK, 0, 340))
    # Two places after a rest: 1,650 m on the way out, and 2,350 m on the way back.
    state, seen = follow(bobs, [at(690, 1_650)], state)

    first = seen[0].uncertainty
    back = [at(690 + s, 1_650 - s * 3) for s in (10, 20, 30, 40)]
    state, seen = follow(bobs, back, state)
    assert seen[-1].progress == pytest.approx(2_470, abs=10)
    assert first is not None and seen[-1].uncertainty is not None
    assert seen[-1].uncertainty < 100 < first


def test_progress_needs_no_accuracy() -> None:
    fixes = [replace(fix, accuracy=None) for fix in running(STRAIGHT, -30, 300)]
    _, seen = follow(guide(STRAIGHT), fixes)

    assert seen[-1].progress == pytest.approx(299 * 3 - 15, abs=8)


def test_an_old_fix_changes_nothing() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    again, seen = bobs.advance(state, at(50, 0))

    assert again == state
    assert seen.progress == state.progress
    assert not seen.splits


# -- off the course


def test_a_runner_off_course_keeps_the_last_certain_progress() -> None:
    bobs = guide(STRAIGHT)
    state, seen = follow(bobs, running(STRAIGHT, 0, 100))
    certain = seen[-1].progress
    away = [at(100 + s, 285 + 3 * s, north=60 + 3 * s) for s in range(1, 40)]
    state, seen = follow(bobs, away, state)

    assert state.status == "off_course"
    assert seen[-1].progress == pytest.approx(certain, abs=10)
    assert len({one.progress for one in seen[25:]}) == 1
    # The uncertainty grows with time.
    growing = [one.uncertainty or 0.0 for one in seen[25:]]
    assert 50 < growing[0] < growing[-1]
    assert not any(one.held for one in seen)
    back = [at(150 + s, 400 + 3 * s) for s in range(20)]
    state, seen = follow(bobs, back, state)
    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(457, abs=10)


def test_a_runner_who_leaves_the_course_does_not_look_like_a_noisy_phone() -> None:
    bobs, state = guide(STRAIGHT), None
    for second in range(0, 355, 5):
        # 2.5 m/s away from the course, with errors of 12 m.
        north = 2.5 * max(0, second - 300) + 12 * math.cos(second / 15)
        fix = at(second, 3 * second, north, accuracy=15)
        state, _ = follow(bobs, [fix], state)

    assert state is not None
    assert state.status == "off_course"


def test_two_fixes_beside_the_course_are_not_off_course() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    state, _ = follow(bobs, [at(101, 290, 70), at(115, 330, 70)], state)

    assert state.status == "started"


# -- held fixes


def test_a_jump_is_held_and_dropped_when_the_next_fix_is_plausible() -> None:
    bobs = guide(STRAIGHT, 1_000)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    state, seen = follow(bobs, [at(100, 5_000), *running(STRAIGHT, 101, 110)], state)

    assert [one.held for one in seen] == [True] + [False] * 9
    # The expected progress at that time.
    assert seen[0].progress == pytest.approx(285, abs=5)
    assert not any(one.confirmed or one.splits for one in seen)
    assert seen[-1].progress == pytest.approx(312, abs=5)


def test_a_jump_is_confirmed_by_a_second_fix() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    state, seen = follow(bobs, [at(101, 900, 900), at(103, 905, 905)], state)

    assert [one.held for one in seen] == [True, False]
    (confirmed,) = seen[1].confirmed
    assert (confirmed.t, confirmed.lat, confirmed.lng) == (
        GUN + 101_000,
        900 / METRES_PER_DEGREE_NORTH,
        900 / METRES_PER_DEGREE_EAST,
    )


def test_a_jump_along_the_course_counts_after_running_on_there() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 300))
    there = [at(301 + s, 1_200 + 3 * s) for s in range(90)]
    state, seen = follow(bobs, there, state)

    assert [one.held for one in seen[:3]] == [True, False, False]
    assert seen[5].progress == pytest.approx(900, abs=20)
    assert seen[-1].progress == pytest.approx(1_467, abs=10)


def test_a_single_fix_near_a_different_leg_changes_nothing() -> None:
    bobs = guide(OUT_AND_BACK)
    fixes = running(OUT_AND_BACK, 0, 400, step=30)
    # The fix is at 1,185 m on the way out, which is 2,815 m on the way back.
    state, seen = follow(bobs, [*fixes, at(420, 600, 10), at(450, 1_335)])

    assert seen[-2].progress == pytest.approx(1_245, abs=90)
    assert seen[-1].progress == pytest.approx(1_335, abs=10)


@pytest.mark.parametrize("back", [500, 900])
def test_a_false_fix_of_a_slow_phone_loses_no_lap(back: int) -> None:
    laps = course((0, 0), *[(940, 0), (940, 940), (0, 940), (0, 0)] * 4)
    seconds = range(-600, 6_001, 600)
    run = [Fix(GUN + 1000 * s, *laps.point_at(max(2.1 * s, 0.0))) for s in seconds]
    # At 3,600 s and 7,560 m, behind the place of ten minutes before.
    run[7] = Fix(run[7].t, *laps.point_at(6_300 - back))
    state, seen = follow(guide(laps, 8_000, 12_000), run)

    assert state.progress == pytest.approx(12_600, abs=1)
    assert [passing.mark for passing in splits(seen)] == [0, 1, 2]


def every_ten_minutes(line: Course, *distances: float) -> list[Fix]:
    """Return the fixes of a slow phone, the first at 600 s."""
    return [
        Fix(GUN + 600_000 * number, *line.point_at(distance))
        for number, distance in enumerate(distances, start=1)
    ]


def test_a_false_fix_far_from_the_course_is_no_ride() -> None:
    run = every_ten_minutes(OUT_AND_BACK_10, 2_000, 4_000, 6_000, 8_000, *[10_000] * 3)
    run[2] = at(1_800, 4_000, 4_000)
    state, _ = follow(guide(OUT_AND_BACK_10), run)

    assert state.status == "finished"


def test_who_stands_at_the_end_of_a_lap_runs_no_lap() -> None:
    laps = course((0, 0), *[(600, 0), (600, 600), (0, 600), (0, 0)] * 4)
    run = every_ten_minutes(laps, 1_800, 3_600, 5_400, *[7_200] * 4)
    state, seen = follow(guide(laps, 9_000), run)

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(7_200, abs=20)


@pytest.mark.parametrize(("pace", "finishes"), [(3.3, True), (4.0, False)])
def test_who_comes_to_the_finish_faster_than_they_run_was_driven(
    pace: float, finishes: bool
) -> None:
    run = running(STRAIGHT, 0, 1_500, step=30)
    arrival = 1_500 + round(5_500 / pace)
    fixes = [*run, *(at(arrival + s, 10_000 + s / 10) for s in range(0, 600, 30))]
    state, _ = follow(guide(STRAIGHT), fixes)

    assert (state.status == "finished") is finishes


@pytest.mark.parametrize(
    ("known", "pace", "silent", "length"),
    [
        # A final descent. The runner has run `known` seconds at `pace` before.
        (5_667, 1.5, 2.6, 10_000),
        (6_000, 1.5, 2.6, 10_000),
        (4_500, 2.0, 3.0, 10_000),
        (3_200, 2.5, 3.4, 10_000),
        # A crowded start.
        (200, 1.5, 3.3, 10_000),
        # Fast runners whose phone is silent from soon after the start.
        (30, 3.7, 3.7, 10_000),
        (30, 4.2, 4.2, 10_000),
        (60, 4.2, 4.2, 42_195),
    ],
)
def test_who_is_faster_in_a_silence_than_before_finishes(
    known: int, pace: float, silent: float, length: int
) -> None:
    finish = known + round((length - pace * known) / silent)
    waits = [at(s, 0) for s in (-60, -30, -10)]
    run = [at(s, pace * s) for s in range(1, known, max(known // 40, 5))]
    arrived = [at(s, length) for s in range(finish, finish + 300, 5)]
    state, _ = follow(guide(course((0, 0), (length, 0))), [*waits, *run, *arrived])

    assert state.status == "finished"


def slow_phone(line: Course, *fixes: tuple[int, float, float]) -> list[Fix]:
    """Return a slow phone's fixes at (seconds, distance, metres aside)."""
    return [
        Fix(GUN + 1000 * s, lat + aside / METRES_PER_DEGREE_NORTH, lng, 5.0)
        for s, distance, aside in fixes
        for lat, lng in [line.point_at(distance)]
    ]


LAPS_2600 = course((0, 0), *[(650, 0), (650, 650), (0, 650), (0, 0)] * 4)
OUT_AND_BACK_16 = course((0, 0), (8_150, 0), (0, 0))


@pytest.mark.parametrize(
    ("line", "fixes"),
    [
        # Drops out where a lap ends, and stands there.
        (
            LAPS_2600,
            [(609, 1_890, 0), (1_287, 4_340, 0), (1_873, 6_280, 0)]
            + [(s, 7_805, 0) for s in (2_462, 3_012, 3_654, 4_250)],
        ),
        # Stands at the finish, where the first fix comes too early.
        (
            course((0, 0), (6_305, 0), (6_305, 1_690), (0, 1_690), (0, 0)),
            [(679, 1_957, 0), (1_235, 3_678, 0), (1_825, 5_396, 0)]
            + [(3_627, 10_695, 0), (4_182, 12_612, 0)]
            + [(4_804, 15_990, 37), (5_483, 15_990, 2), (6_080, 15_990, 5)],
        ),
        # Seen once on the way, faster than anybody can run.
        (
            OUT_AND_BACK_16,
            [(583, 2_097, 0), (1_147, 4_048, 0), (1_714, 6_122, 0)]
            + [(2_971, 9_869, 0), (3_576, 12_015, 0), (4_169, 15_372, 28)]
            + [(s, 16_300, 5) for s in (4_718, 5_397, 5_990)],
        ),
    ],
    ids=["end of a lap", "early at the finish", "fast on the way"],
)
def test_who_was_driven_to_the_finish_of_a_slow_phone_does_not_finish(
    line: Course, fixes: list[tuple[int, float, float]]
) -> None:
    state, _ = follow(guide(line), slow_phone(line, *fixes))

    assert state.status != "finished"


def test_nobody_waits_at_the_start_of_a_track_long_after_the_gun() -> None:
    # Each lap of the first two fixes ends just behind the line.
    ran = [(-292, 0), (1_013, 3_980), (1_564, 5_990), (2_125, 8_030)]
    fixes = [Fix(GUN + 1000 * s, *TRACK.point_at(distance)) for s, distance in ran]
    _, seen = follow(guide(TRACK), fixes)

    assert splits(seen)[0].at <= GUN + 120_000


def track(every: int, until: int, ran: Callable[[int], float]) -> list[Fix]:
    """Return fixes with errors of a few metres on a track of 400 m."""
    random, fixes = Random(1), []
    for second in range(-300, until, every):
        lat, lng = TRACK.point_at(max(ran(second), 0))
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
    ran = [(s, max(1.6 * s, 0)) for s in range(-260, 1_500, 120)]
    fixes = [Fix(GUN + 1000 * s, *TRACK.point_at(distance)) for s, distance in ran]
    _, seen = follow(guide(TRACK, 1_000, 2_000), fixes)

    passed = next(one for one in seen if any(s.distance == 2_000 for s in one.splits))
    assert passed.uncertainty is not None and passed.uncertainty > 200
    assert passed.splits[0].uncertainty >= passed.uncertainty


def test_who_crosses_an_earlier_part_of_the_course_on_a_detour_is_not_there() -> None:
    line = course((0, 0), (6_000, 0), (6_000, 3_000), (0, 3_000))
    run = running(line, 0, 3_800, step=5)
    # Leaves at 11,385 m and runs along the first leg for a minute.
    down = [at(3_800 + s, 3_600, 3_000 - 3 * s) for s in range(5, 1_000, 5)]
    beside = [at(4_800 + s, 3_600 + 2 * s, 0) for s in range(0, 60, 5)]
    up = [at(4_860 + s, 3_600, 3 * s) for s in range(5, 1_000, 5)]
    state, seen = follow(guide(line), [*run, *down, *beside, *up])

    assert state.progress == pytest.approx(11_385, abs=30)


def test_the_errors_of_a_slow_phone_at_the_finish_do_not_hide_it() -> None:
    run = [(s, 2.5 * s, 0.0) for s in range(600, 4_201, 600)]
    stands = [(4_800, 11_716, 0), (5_460, 11_747, 0)]
    line = course((0, 0), *[(735, 0), (735, 735), (0, 735), (0, 0)] * 4)
    state, _ = follow(guide(line), slow_phone(line, *run, *stands))

    assert state.status == "finished"


def test_fixes_beside_the_course_of_a_slow_phone_do_not_stop_the_progress() -> None:
    run = [at(s, 3.0 * s, accuracy=5.0) for s in range(120, 1_000, 120)]
    aside = [at(s, 3.0 * s, 48, accuracy=5.0) for s in range(1_080, 1_500, 120)]
    state, seen = follow(guide(STRAIGHT), [*run, *aside])

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(3.0 * 1_440, abs=300)


def test_the_progress_waits_while_a_fast_phone_is_beside_the_course() -> None:
    run = [at(s, 3.0 * s, accuracy=5.0) for s in range(0, 900, 5)]
    aside = [at(s, 2_700, 48, accuracy=5.0) for s in range(900, 1_500, 5)]
    state, seen = follow(guide(STRAIGHT), [*run, *aside])

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(2_700, abs=100)


def test_a_slow_phone_that_reports_too_small_errors_is_on_the_course() -> None:
    aside = [0.0, 24.0, 22.0, 25.0, 23.0]
    fixes = [at(600 * n, 1_800 * n, off) for n, off in enumerate(aside, start=1)]
    _, seen = follow(guide(course((0, 0), (20_000, 0))), fixes)

    shown = [one.progress for one in seen]
    assert shown == pytest.approx([1_800 * n for n in range(1, 6)], abs=20)


@pytest.mark.parametrize("waits", [1_253, 653])
def test_a_late_start_seen_by_a_slow_phone_does_not_slow_a_runner_down(
    waits: int,
) -> None:
    # Starts between two fixes, some minutes before the second.
    fixes = [at(77, 0), at(653, 3), *[at(1_253, 0)] * (waits > 653)]
    fixes += [at(s, 790 + 4.3 * (s - 1_808)) for s in range(1_808, 4_500, 600)]
    state, seen = follow(guide(course((0, 0), (20_000, 0))), fixes)

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(790 + 4.3 * 2_400, abs=20)


@pytest.mark.parametrize(
    ("waits", "crosses", "pace", "every"),
    [([(208, 3), (407, 11)], 485, 3.9, 180), ([(9, 16)], 175, 4.5, 320)],
)
def test_a_wait_shown_ahead_of_the_line_does_not_slow_a_runner_down(
    waits: list[tuple[int, int]], crosses: int, pace: float, every: int
) -> None:
    # GPS errors put the runner a few metres ahead of the line.
    fixes = [at(second, ahead) for second, ahead in waits]
    last, _ = waits[-1]
    fixes += [
        at(second, pace * (second - crosses))
        for second in range(last + every, last + 10 * every, every)
    ]
    state, seen = follow(guide(course((0, 0), (20_000, 0))), fixes)

    ran = pace * ((fixes[-1].t - GUN) / 1000 - crosses)
    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(ran, abs=20)


def test_a_silence_after_the_first_fix_does_not_slow_a_runner_down() -> None:
    line = course((0, 0), (8_500, 0), (0, 0))
    gun, *late = (
        Fix(GUN + 1000 * s, *line.point_at(4.1 * s)) for s in (160, 3_200, 3_700)
    )
    state, seen = follow(guide(line), [gun, *late])

    assert [one.progress for one in seen] == pytest.approx(
        [656, 13_120, 15_170], abs=20
    )


def test_the_first_fix_of_a_slow_phone_may_be_just_after_the_line() -> None:
    state, seen = follow(
        guide(STRAIGHT), [at(19, 10), at(1_200, 4_000), at(1_800, 6_000)]
    )

    assert [passing.mark for passing in splits(seen)] == [0]


@pytest.mark.parametrize("step", [10, 120, 600])
@pytest.mark.parametrize(
    ("first", "waits_at", "crosses"), [(19, 10, 150), (19, 2, 150), (55, 5, 240)]
)
def test_the_uncertainty_of_a_start_covers_waiting_just_behind_the_line(
    first: int, waits_at: int, crosses: int, step: int
) -> None:
    fixes = (
        at(s, waits_at if s < crosses else 3.0 * (s - crosses))
        for s in range(first, 1_900, step)
    )
    _, seen = follow(guide(STRAIGHT), fixes)
    (start,) = splits(seen)

    assert abs(start.at - (GUN + crosses * 1000)) <= start.uncertainty * 1000


def test_a_fix_with_accuracy_over_100_m_is_held_until_a_better_one() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    fixes = [at(101, 290, accuracy=900.0), at(102, 293, accuracy=900.0), at(103, 294)]
    state, seen = follow(bobs, fixes, state)

    assert [one.held for one in seen] == [True, True, False]
    assert [fix.t for fix in seen[2].confirmed] == [GUN + 102_000]


def test_the_top_speed_belongs_to_the_race() -> None:
    bobs = Guide(STRAIGHT, [], top_speed=40)
    fixes = running(STRAIGHT, 0, 100, speed=30)
    _, seen = follow(bobs, fixes)
    assert not any(one.held for one in seen)
    assert seen[-1].progress == pytest.approx(99 * 30 - 15, abs=30)


def test_a_coarse_fix_moves_the_progress_but_passes_no_checkpoint() -> None:
    bobs = guide(STRAIGHT, 300)
    state, _ = follow(bobs, running(STRAIGHT, 0, 103))
    coarse = [replace(f, accuracy=60.0) for f in running(STRAIGHT, 103, 120)]
    state, seen = follow(bobs, coarse, state)

    assert not splits(seen)
    assert seen[-1].progress is not None
    assert seen[-1].progress > 320
    state, seen = follow(bobs, running(STRAIGHT, 120, 121), state)
    (passing,) = splits(seen)
    assert (passing.at - GUN) / 1000 == pytest.approx(105, abs=3)
    assert passing.uncertainty == 18


def test_a_runner_far_from_the_course_after_a_silence_is_followed_from_the_store() -> (
    None
):
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 300))
    for second in range(900, 920, 5):
        # Each fix continues from what another process has stored.
        state = State.from_json(orjson.loads(orjson.dumps(state.as_json())))
        state, _ = follow(bobs, [at(second, 900, 800)], state)

    assert state.status == "off_course"
