"""Map matching: on the course, off it, and with held fixes."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import orjson
import pytest

from runners.races.course import Course
from runners.races.progress import Guide, State
from runners.races.progress.mixture import pruned
from runners.races.progress.state import Hypothesis
from runners.races.splits import Node
from tests.races.bob import (
    GUN,
    METRES_PER_DEGREE_EAST,
    METRES_PER_DEGREE_NORTH,
    OUT_AND_BACK,
    STRAIGHT,
    along,
    at,
    course,
    follow,
    guide,
    laps_of,
    running,
    splits,
)

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


def test_a_long_error_beside_the_course_is_not_off_course() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, along(STRAIGHT, *((s, 3.0 * s) for s in range(0, 330, 30))))

    for second in range(330, 510, 30):
        state, (seen,) = follow(bobs, [at(second, 3 * second, 60)], state)

        assert state.status == "started"
        # The runner goes on meanwhile.
        assert seen.progress == pytest.approx(3 * second, abs=40)

    # Errors do not last this long.
    beside = [at(second, 3 * second, 60) for second in range(510, 900, 30)]
    state, _ = follow(bobs, beside, state)
    assert state.status == "off_course"


@pytest.mark.parametrize("every", [5, 30])
def test_an_outlier_where_the_line_is_drawn_beside_is_not_off_course(
    every: int,
) -> None:
    run = [at(s, 3 * s) for s in range(every, 600, every)]
    beside = [at(s, 3 * s, 32, accuracy=5) for s in range(600, 1_200, every)]
    outlier = at(1_200, 3_600, 95, accuracy=5)
    more = [at(s, 3 * s, 32, accuracy=5) for s in range(1_200 + every, 1_500, every)]
    state, seen = follow(guide(STRAIGHT), [*run, *beside, outlier, *more])

    assert state.status == "started"


def test_a_sudden_jump_counts_as_an_error_unless_the_distance_grows() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    state, _ = follow(bobs, [at(100 + s, 300, 95) for s in range(1, 30)], state)
    assert state.status == "started"

    state, _ = follow(bobs, [at(130 + s, 300, 95 + 3 * s) for s in range(20)], state)
    assert state.status == "off_course"


@pytest.mark.parametrize(
    ("every", "beside", "accuracy"), [(5, 26, None), (30, 26, None), (30, 32, 6.0)]
)
def test_who_stands_beside_the_course_is_not_shown_running_on(
    every: int, beside: int, accuracy: float | None
) -> None:
    bobs = guide(STRAIGHT)
    run = [at(s, 3.0 * s, accuracy=accuracy) for s in range(0, 300, every)]
    state, _ = follow(bobs, run)
    stands = [at(s, 880, beside, accuracy=accuracy) for s in range(300, 480, every)]
    _, seen = follow(bobs, stands, state)

    errors = [abs((one.progress or 0) - 880) for one in seen]
    assert max(errors) < 80
    assert all(
        error < 3 * (one.uncertainty or 0)
        for error, one in zip(errors, seen, strict=True)
        if error > 50
    )


def test_who_goes_on_after_a_stop_is_followed_soon() -> None:
    bobs = guide(STRAIGHT)
    ran = [at(second, 3.0 * second, accuracy=6.0) for second in range(300)]
    stands = [at(second, 897, 20, accuracy=6.0) for second in range(300, 480)]
    state, _ = follow(bobs, [*ran, *stands])
    runs = [at(480 + s, 897 + 3.0 * s, accuracy=6.0) for s in range(60)]
    _, seen = follow(bobs, runs, state)

    errors = [
        abs(one.progress - 897 - 3.0 * second)
        for second, one in enumerate(seen)
        if one.progress is not None
    ]
    assert max(errors[20:]) < 15


def test_a_slow_detour_of_a_phone_that_states_large_errors_is_off_course() -> None:
    bobs = guide(STRAIGHT)
    ran = [at(s, 2.5 * s, accuracy=20) for s in range(0, 400, 5)]
    state, _ = follow(bobs, ran)
    away = [at(400 + s, 1_000 + s, 0.8 * s, accuracy=20) for s in range(0, 137, 5)]
    state, _ = follow(bobs, away, state)

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


def test_a_place_is_not_shown_only_because_it_is_exact() -> None:
    jumped = Hypothesis(3_000, 2.8, 9, 0, 1, 3, GUN, 3_000)
    expected = jumped._replace(distance=2_000, variance=200, cost=0, misfits=10)

    assert pruned([jumped, expected])[0].distance == 2_000


def test_nobody_runs_back_along_the_course_beside_the_other_leg() -> None:
    line = course((0, 0), (6_000, 0), (6_000, 9), (0, 9))
    state = started(1_900, 5_600)
    run = [
        at(s, 5_600 - 3 * (s - 1_900), 9, accuracy=5.0) for s in range(1_905, 2_000, 5)
    ]
    _, seen = follow(guide(line), run, state)

    assert seen[-1].progress == pytest.approx(6_409 + 3 * 95, abs=20)


def test_equal_laps_are_not_shown_in_turn() -> None:
    line = laps_of(100, 25)
    state = started(1_900, 804, 1_204)
    state.hypotheses = tuple(
        each._replace(cost=cost, speed=3.0)
        for each, cost in zip(state.hypotheses, (0.5, 0.0), strict=True)
    )
    _, seen = follow(guide(line), [at(1_901, 7, accuracy=5.0)], state)

    assert seen[-1].progress == pytest.approx(807, abs=5)


def started(second: int, *distances: float) -> State:
    """Return the state of a runner who may be at each of these distances."""
    t = GUN + 1_000 * second
    place = Node(t, distances[0])
    found = tuple(Hypothesis(each, 0, 20, 0, 1, 0, t, each) for each in distances)
    return State(
        GUN, "started", t, at=t, hypotheses=found, certain=place, first=Node(GUN, 0.0)
    )


def test_a_single_fix_near_a_different_leg_changes_nothing() -> None:
    bobs = guide(OUT_AND_BACK)
    fixes = running(OUT_AND_BACK, 0, 400, step=30)
    # The fix is at 1,185 m on the way out, which is 2,815 m on the way back.
    state, seen = follow(bobs, [*fixes, at(420, 600, 10), at(450, 1_335)])

    assert seen[-2].progress == pytest.approx(1_245, abs=90)
    assert seen[-1].progress == pytest.approx(1_335, abs=10)


def test_who_crosses_an_earlier_part_of_the_course_on_a_detour_is_not_there() -> None:
    line = course((0, 0), (6_000, 0), (6_000, 3_000), (0, 3_000))
    run = running(line, 0, 3_800, step=5)
    # Leaves at 11,385 m and runs along the first leg for a minute.
    down = [at(3_800 + s, 3_600, 3_000 - 3 * s) for s in range(5, 1_000, 5)]
    beside = [at(4_800 + s, 3_600 + 2 * s, 0) for s in range(0, 60, 5)]
    up = [at(4_860 + s, 3_600, 3 * s) for s in range(5, 1_000, 5)]
    state, seen = follow(guide(line), [*run, *down, *beside, *up])

    assert state.progress == pytest.approx(11_385, abs=30)


def test_who_was_lost_does_not_run_back_on_the_other_leg() -> None:
    far = [(10_000, 0), (10_000, 1_850), (10_300, 1_850), (10_300, 0), (14_000, 0)]
    line = course((0, 0), *far, *far[-2::-1], (0, 0))
    before = [(s, 3.0 * s) for s in range(30, 7_150, 30)]
    # They have cut 4 km, unseen.
    after = [(s, 25_400 + 3.0 * (s - 7_450)) for s in range(7_470, 10_500, 30)]
    state, seen = follow(guide(line), along(line, *before, *after))

    shown = [each.progress for each in seen[len(before) :]]
    assert min(each for each in shown if each is not None) > 21_400
    assert shown[-1] == pytest.approx(after[-1][1], abs=20)


def test_fixes_beside_the_course_of_a_slow_phone_do_not_stop_the_progress() -> None:
    run = [at(s, 3.0 * s, accuracy=5.0) for s in range(120, 1_000, 120)]
    aside = [at(s, 3.0 * s, 48, accuracy=5.0) for s in range(1_080, 1_500, 120)]
    state, seen = follow(guide(STRAIGHT), [*run, *aside])

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(3.0 * 1_440, abs=300)


def test_a_slow_phone_beside_the_course_is_shown_near_it() -> None:
    run = [at(s, 3.0 * s, accuracy=5.0) for s in range(600, 1_801, 600)]
    _, seen = follow(guide(STRAIGHT), [*run, at(2_400, 6_500, 100, accuracy=5.0)])

    assert seen[-1].progress == pytest.approx(6_500, abs=150)


def test_who_comes_back_past_a_wrong_turn_with_a_slow_phone_is_on_the_way_back() -> (
    None
):
    line = course((0, 0), (6_000, 0), (0, 0))
    run = [at(s, 3.0 * s, accuracy=5.0) for s in range(600, 1_201, 600)]
    aside, back = at(1_800, 5_000, 116, accuracy=5.0), at(2_400, 5_050, accuracy=5.0)
    _, seen = follow(guide(line), [*run, aside, back])

    assert seen[-1].progress == pytest.approx(6_950, abs=30)


def test_an_error_of_a_slow_phone_does_not_decide_between_two_legs() -> None:
    line = course((0, 0), (6_000, 0), (6_000, 10), (0, 10))
    run = [at(s, 3.0 * s, accuracy=5.0) for s in range(600, 1_801, 600)]
    _, seen = follow(guide(line), [*run, at(2_220, 5_400, -25, accuracy=5.0)])

    assert seen[-1].progress == pytest.approx(6_610, abs=30)


def test_two_fixes_of_a_slow_phone_that_do_not_fit_make_the_progress_vague() -> None:
    line = course((0, 0), (6_000, 0), (6_000, 300), (0, 300))
    run = [at(s, 4.0 * s, accuracy=5.0) for s in range(120, 1_201, 120)]
    # A wrong turn at 4,800 m, and along the way back in the wrong direction.
    wrong = [at(1_320, 4_900, 290, accuracy=5.0), at(1_440, 5_500, 310, accuracy=5.0)]
    _, seen = follow(guide(line), [*run, *wrong])

    progress, uncertainty, *_ = seen[-1]
    assert progress is not None and uncertainty is not None
    assert abs(progress - 4_800) <= 2 * uncertainty


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
    fixes = along(line, *((s, 4.1 * s) for s in (160, 3_200, 3_700)))
    state, seen = follow(guide(line), fixes)

    assert [one.progress for one in seen] == pytest.approx(
        [656, 13_120, 15_170], abs=20
    )


@pytest.mark.parametrize("every", [1, 30])
def test_who_is_first_seen_beside_the_course_starts_all_the_same(every: int) -> None:
    first = at(600, 1_800, 100)
    fixes = [at(s, 3 * s) for s in range(600 + every, 1_200, every)]
    state, seen = follow(guide(STRAIGHT), [first, *fixes])

    assert state.status == "started"
    ran = 3 * (fixes[-1].t - GUN) / 1000
    assert seen[-1].progress == pytest.approx(ran, abs=10)


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
        state = State.from_json(orjson.loads(msgspec.json.encode(state.as_json())))
        state, _ = follow(bobs, [at(second, 900, 800)], state)

    assert state.status == "off_course"
