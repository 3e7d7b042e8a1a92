from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.races.course import Course
from runners.races.progress import Guide, Mark, Seen, State
from runners.races.splits import Passing
from tests.races.runs import sample
from tests.races.shapes import KINDS

GUN = 1_780_000_000_000
# Metres of a degree at 0, 0.
DEGREE, DEGREE_NORTH = 111_319.4908, 110_574.2727
# Metres east and north of 0, 0.
Place = tuple[float, float]


@dataclass(frozen=True)
class Fix:
    t: int
    lat: float
    lng: float
    accuracy: float | None = 5.0
    speed: float | None = None
    heading: float | None = None


def at(seconds: float, east: float, north: float = 0.0, **more: float | None) -> Fix:
    return Fix(GUN + round(seconds * 1000), north / DEGREE_NORTH, east / DEGREE, **more)


def course(*places: Place) -> Course:
    return Course([(north / DEGREE_NORTH, east / DEGREE) for east, north in places])


def guide(line: Course, *splits: float) -> Guide:
    """Bob's race: start, splits numbered from 1, finish (99)."""
    marks = [Mark(n, distance, "split") for n, distance in enumerate(splits, start=1)]
    return Guide(line, [Mark(0, 0.0, "start"), *marks, Mark(99, line.length, "finish")])


STRAIGHT = course((0, 0), (10_000, 0))
OUT_AND_BACK = course((0, 0), (2_000, 0), (0, 0))


def follow(
    bobs: Guide, fixes: Iterable[Fix], state: State | None = None
) -> tuple[State, list[Seen]]:
    state = state or bobs.begin(GUN)
    found = []
    for fix in fixes:
        state, seen = bobs.advance(state, fix)
        found.append(seen)
    return state, found


def splits(found: Iterable[Seen]) -> list[Passing]:
    return [passing for seen in found for passing in seen.splits]


def running(
    line: Course, since: int, until: int, *, step: int = 1, speed: float = 3.0
) -> list[Fix]:
    """Run evenly from 15 m before the start, which is crossed 5 s after the gun."""
    fixes = []
    for second in range(since, until, step):
        distance = speed * second - 15
        lat, lng = line.point_at(distance)
        behind = min(distance, 0) / DEGREE
        fixes.append(Fix(GUN + second * 1000, lat, lng + behind))
    return fixes


# Under way


def test_progress_follows_the_course() -> None:
    state, seen = follow(guide(STRAIGHT), running(STRAIGHT, -30, 600))

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(599 * 3 - 15, abs=3)
    assert seen[0].progress is None


def test_progress_is_in_the_certified_metres() -> None:
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


def test_progress_is_unknown_while_two_legs_are_plausible() -> None:
    # 750 m before the turn or after it: 10 minutes for 250 or 1,750 m.
    bobs = guide(OUT_AND_BACK)
    state, seen = follow(bobs, running(OUT_AND_BACK, 0, 340))
    state, seen = follow(bobs, [at(800, 1_450 - s * 3) for s in (0,)], state)

    assert seen[0].progress is None
    assert state.progress == pytest.approx(1_002, abs=5)
    state, seen = follow(bobs, [at(800 + s, 1_450 - s * 3) for s in (10, 20)], state)
    assert seen[-1].progress == pytest.approx(2_610, abs=10)


def test_progress_needs_no_accuracy() -> None:
    fixes = [replace(fix, accuracy=None) for fix in running(STRAIGHT, -30, 300)]
    _, seen = follow(guide(STRAIGHT), fixes)

    assert seen[-1].progress == pytest.approx(299 * 3 - 15, abs=8)


def test_old_fix_changes_nothing() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    again, seen = bobs.advance(state, at(50, 0))

    assert again == state
    assert seen.progress == state.progress
    assert not seen.splits


# Off the course


def test_runner_off_course_keeps_the_last_certain_progress() -> None:
    bobs = guide(STRAIGHT)
    state, seen = follow(bobs, running(STRAIGHT, 0, 100))
    certain = seen[-1].progress
    away = [at(100 + s, 285 + 3 * s, north=60 + 3 * s) for s in range(1, 40)]
    state, seen = follow(bobs, away, state)

    assert state.status == "off_course"
    assert {one.progress for one in seen} == {certain}
    assert not any(one.held for one in seen)
    back = [at(150 + s, 400 + 3 * s) for s in range(20)]
    state, seen = follow(bobs, back, state)
    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(457, abs=10)


def test_two_fixes_beside_the_course_are_not_off_course() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    state, _ = follow(bobs, [at(101, 290, 70), at(115, 330, 70)], state)

    assert state.status == "started"


# Held


def test_jump_is_held_and_forgotten_when_the_next_fix_is_plausible() -> None:
    bobs = guide(STRAIGHT, 1_000)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    state, seen = follow(bobs, [at(100, 5_000), *running(STRAIGHT, 101, 110)], state)

    assert [one.held for one in seen] == [True] + [False] * 9
    assert seen[0].progress is None
    assert not any(one.confirmed or one.splits for one in seen)
    assert seen[-1].progress == pytest.approx(312, abs=5)


def test_jump_is_confirmed_by_a_second_fix() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    state, seen = follow(bobs, [at(101, 900, 900), at(103, 905, 905)], state)

    assert [one.held for one in seen] == [True, False]
    (confirmed,) = seen[1].confirmed
    assert (confirmed.t, confirmed.lat, confirmed.lng) == (
        GUN + 101_000,
        900 / DEGREE_NORTH,
        900 / DEGREE,
    )


def test_jump_along_the_course_counts_once_confirmed() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 300))
    state, seen = follow(bobs, [at(301, 1_500), at(302, 1_503), at(303, 1_506)], state)

    assert [one.held for one in seen] == [True, False, False]
    assert seen[-1].progress == pytest.approx(1_506, abs=10)


def test_accuracy_over_100_m_is_held_until_a_better_one() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 100))
    fixes = [at(101, 290, accuracy=900.0), at(102, 293, accuracy=900.0), at(103, 294)]
    state, seen = follow(bobs, fixes, state)

    assert [one.held for one in seen] == [True, True, False]
    assert [fix.t for fix in seen[2].confirmed] == [GUN + 102_000]


def test_top_speed_is_the_races() -> None:
    bobs = Guide(STRAIGHT, [], top_speed=40)
    fixes = running(STRAIGHT, 0, 100, speed=30)
    _, seen = follow(bobs, fixes)
    assert not any(one.held for one in seen)
    assert seen[-1].progress == pytest.approx(99 * 30 - 15, abs=30)


def test_coarse_fix_moves_the_progress_but_passes_no_mark() -> None:
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


# Start


def test_start_is_when_the_line_is_crossed() -> None:
    state, seen = follow(guide(STRAIGHT), running(STRAIGHT, -300, 60))

    (start,) = splits(seen)
    assert (start.mark, start.distance, start.pass_number) == (0, 0, 1)
    assert (start.at - GUN) / 1000 == pytest.approx(5, abs=2)
    assert state.started == start.at


def test_start_is_never_before_the_gun() -> None:
    # A phone on the start line, a few metres over it, long before.
    waiting = [at(second, 8) for second in range(-300, 2)]
    away = [at(second, 8 + 3 * second) for second in range(2, 40)]
    state, seen = follow(guide(STRAIGHT), waiting + away)

    (start,) = splits(seen)
    assert 0 <= (start.at - GUN) / 1000 <= 3
    assert all(one.progress is None for one in seen[:302])


def test_runner_at_home_is_not_started() -> None:
    fixes = [at(second, -4_000, 700) for second in range(-600, 3_000, 10)]
    state, seen = follow(guide(STRAIGHT), fixes)

    assert state.status == "registered"
    assert {one.progress for one in seen} == {None}


@pytest.mark.parametrize("home", [70, 300, 4_000])
def test_runner_who_lives_on_the_course_is_not_started(home: float) -> None:
    random = Random(4)
    fixes = [
        at(second, random.gauss(home, 6), random.gauss(5, 6))
        for second in range(-600, 3_000, 10)
    ]
    state, _ = follow(guide(STRAIGHT), fixes)

    assert state.status == "registered"


def test_warming_up_on_the_course_is_no_start() -> None:
    out = [at(-900 + second, 3.0 * second) for second in range(250)]
    back = [at(-650 + second, 750 - 3.0 * second) for second in range(255)]
    wait = [at(second, -15) for second in range(-390, 0, 5)]
    state, seen = follow(guide(STRAIGHT, 500), out + back + wait)
    assert state.status == "registered"
    state, seen = follow(guide(STRAIGHT, 500), running(STRAIGHT, 0, 60), state)
    (start,) = splits(seen)
    assert (start.at - GUN) / 1000 == pytest.approx(5, abs=2)


def test_phone_that_wakes_on_the_course_has_no_earlier_splits() -> None:
    bobs = guide(STRAIGHT, 1_000, 2_000)
    state, seen = follow(bobs, running(STRAIGHT, 500, 800))

    assert state.status == "started"
    assert state.started is None
    assert [passing.mark for passing in splits(seen)] == [2]
    assert seen[-1].progress == pytest.approx(799 * 3 - 15, abs=5)


def test_phone_that_wakes_at_the_turn_is_taken_for_no_leg_at_first() -> None:
    # 10 m before the turn, as far as it can tell.
    fixes = [at(670 + s, 1_990 - 3 * s) for s in range(180)]
    state, seen = follow(guide(OUT_AND_BACK), fixes)

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(2_010 + 179 * 3, abs=5)


def test_phone_silent_since_the_start_has_splits_as_uncertain_as_the_silence() -> None:
    fixes = running(STRAIGHT, -60, 0) + running(STRAIGHT, 500, 800)
    state, seen = follow(guide(STRAIGHT, 1_000), fixes)

    start, split = splits(seen)
    assert start.uncertainty >= 500
    assert split.uncertainty >= 490
    assert abs((split.at - GUN) / 1000 - 338) < 200


# Splits


def test_split_is_interpolated_between_the_fixes_around() -> None:
    state, seen = follow(guide(STRAIGHT, 1_000), running(STRAIGHT, 0, 500, step=10))

    _, split = splits(seen)
    assert split.mark == 1
    assert (split.at - GUN) / 1000 == pytest.approx(1_015 / 3, abs=2)
    assert split.uncertainty == 10


def test_split_is_taken_once() -> None:
    bobs = guide(STRAIGHT, 300)
    state, seen = follow(bobs, running(STRAIGHT, 0, 110))
    assert len(splits(seen)) == 2
    back = [at(110 + s, 315 - 2 * s) for s in range(60)]
    again = [at(170 + s, 195 + 3 * s) for s in range(80)]
    state, seen = follow(bobs, back + again, state)

    assert not splits(seen)
    assert seen[59].progress == pytest.approx(197, abs=10)
    assert seen[-1].progress == pytest.approx(432, abs=10)


LAPS = course(*[(0, 0), (500, 0), (500, 500), (0, 500)] * 3, (0, 0))


def test_mark_of_the_first_lap_is_passed_once_a_lap() -> None:
    state, seen = follow(guide(LAPS, 700), running(LAPS, 0, 2_100))

    passed = [(p.mark, p.pass_number, round(p.distance)) for p in splits(seen)]
    assert passed == [
        (0, 1, 0),
        (1, 1, 700),
        (1, 2, 2_700),
        (1, 3, 4_700),
        (99, 1, 6_000),
    ]


def test_mark_of_a_later_lap_stands_for_that_lap_alone() -> None:
    bobs = guide(LAPS, 700, 2_700, 3_100)

    assert [(p.mark, p.pass_number, round(p.distance)) for p in bobs.passes] == [
        (0, 1, 0),
        (1, 1, 700),
        (2, 1, 2_700),
        (3, 1, 3_100),
        (1, 2, 4_700),
        (99, 1, 6_000),
    ]


def test_way_back_is_no_lap() -> None:
    assert [(p.mark, p.pass_number) for p in guide(OUT_AND_BACK, 700).passes] == [
        (0, 1),
        (1, 1),
        (99, 1),
    ]


# Finish


def test_loop_is_not_finished_at_its_start() -> None:
    loop = course((0, 0), (500, 0), (500, 500), (0, 500), (0, 0))
    bobs = guide(loop)
    state, seen = follow(bobs, running(loop, -60, 600))
    assert state.status == "started"
    state, more = follow(bobs, running(loop, 600, 800), state)

    assert state.status == "finished"
    assert [passing.mark for passing in splits(more)] == [99]
    assert state.finished == splits(more)[0].at
    assert (state.finished - GUN) / 1000 == pytest.approx(2_015 / 3, abs=3)
    assert more[-1].progress == pytest.approx(2_000, abs=1)


def test_finish_is_once_and_for_ever() -> None:
    bobs = guide(course((0, 0), (1_000, 0)))
    line = course((0, 0), (1_000, 0))
    state, _ = follow(bobs, running(line, 0, 360))
    home = [at(400 + 10 * s, 1_000 - 30 * s) for s in range(60)]
    state, seen = follow(bobs, home, state)

    assert state.status == "finished"
    assert {one.progress for one in seen} == {bobs.finish}
    assert not splits(seen)
    assert not any(one.held for one in seen)


def test_whoever_appears_at_the_finish_an_hour_later_has_not_finished() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 600))
    bus = [at(4_800 + s, 10_000 + s % 3) for s in range(120)]
    state, seen = follow(bobs, bus, state)

    assert state.status != "finished"
    assert not splits(seen)
    assert state.progress == pytest.approx(599 * 3 - 15, abs=5)


def test_silence_over_the_finish_is_interpolated() -> None:
    line = course((0, 0), (2_000, 0))
    bobs = guide(line)
    fixes = running(line, 0, 600) + [at(780 + s, 2_010) for s in range(10)]
    state, seen = follow(bobs, fixes)

    assert state.status == "finished"
    finish = splits(seen)[-1]
    assert finish.uncertainty == pytest.approx(181, abs=10)
    assert 600 < (finish.at - GUN) / 1000 <= 790


# State


def test_state_survives_as_json_at_every_fix() -> None:
    run = sample("out and back", 3)
    state = run.guide.begin(GUN)
    longest = 0
    for fix in run.fixes:
        wire = orjson.dumps(state.as_json())
        longest = max(longest, len(wire))
        assert State.from_json(orjson.loads(wire)) == state
        state, _ = run.guide.advance(state, fix)

    assert state.status == "finished"
    assert longest < 1_000


@settings(max_examples=12, deadline=None)
@given(random=st.randoms(use_true_random=False), seed=st.integers(0, 40))
def test_replay_is_the_same_in_any_order(random: Random, seed: int) -> None:
    kinds = list(KINDS)
    run = sample(kinds[seed % len(kinds)], seed)
    fixes = run.fixes[:: max(len(run.fixes) // 150, 1)]
    shuffled = list(fixes)
    random.shuffle(shuffled)

    assert run.guide.replay(GUN, shuffled) == run.guide.replay(GUN, fixes)


def test_replay_is_what_advancing_told() -> None:
    run = sample("four laps", 2)
    state, seen = run.guide.begin(GUN), []
    for fix in run.fixes:
        state, one = run.guide.advance(state, fix)
        seen.append(one)
    replay = run.guide.replay(GUN, run.fixes)

    assert replay.state == state
    assert replay.splits == splits(seen)
    assert len(replay.progress) == len(replay.held) == len(run.fixes)
