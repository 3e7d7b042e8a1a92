"""The times of the start, of splits and of the finish."""

from __future__ import annotations

from random import Random

import pytest

from bench.truth.courses import track
from bench.truth.runs import Fix
from tests.races.bob import (
    GUN,
    OUT_AND_BACK,
    STRAIGHT,
    at,
    course,
    follow,
    guide,
    running,
    splits,
)

# -- start


def test_the_start_is_when_the_line_is_crossed() -> None:
    state, seen = follow(guide(STRAIGHT), running(STRAIGHT, -300, 60))

    (start,) = splits(seen)
    assert (start.mark, start.distance, start.pass_number) == (0, 0, 1)
    assert (start.at - GUN) / 1000 == pytest.approx(5, abs=2)
    assert state.started == start.at


def test_the_start_is_never_before_the_gun() -> None:
    # A phone waits at the start, a few metres past the line.
    waiting = [at(second, 8) for second in range(-300, 2)]
    away = [at(second, 8 + 3 * second) for second in range(2, 40)]
    state, seen = follow(guide(STRAIGHT), waiting + away)

    (start,) = splits(seen)
    assert 0 <= (start.at - GUN) / 1000 <= 3
    assert all(one.progress is None for one in seen[:302])


def test_a_runner_at_home_has_not_started() -> None:
    fixes = [at(second, -4_000, 700) for second in range(-600, 3_000, 10)]
    state, seen = follow(guide(STRAIGHT), fixes)

    assert state.status == "registered"
    assert {one.progress for one in seen} == {None}


@pytest.mark.parametrize("home", [70, 300, 4_000])
def test_a_runner_who_lives_on_the_course_has_not_started(home: float) -> None:
    random = Random(4)
    fixes = [
        at(second, random.gauss(home, 6), random.gauss(5, 6))
        for second in range(-600, 3_000, 10)
    ]
    state, _ = follow(guide(STRAIGHT), fixes)

    assert state.status == "registered"


def test_a_warm_up_on_the_course_is_no_start() -> None:
    out = [at(-900 + second, 3.0 * second) for second in range(250)]
    back = [at(-650 + second, 750 - 3.0 * second) for second in range(255)]
    wait = [at(second, -15) for second in range(-390, 0, 5)]
    state, seen = follow(guide(STRAIGHT, 500), out + back + wait)
    assert state.status == "registered"
    state, seen = follow(guide(STRAIGHT, 500), running(STRAIGHT, 0, 60), state)
    (start,) = splits(seen)
    assert (start.at - GUN) / 1000 == pytest.approx(5, abs=2)


def test_a_phone_that_starts_on_the_course_has_no_earlier_splits() -> None:
    bobs = guide(STRAIGHT, 1_000, 4_000)
    state, seen = follow(bobs, running(STRAIGHT, 1_000, 1_400))

    assert state.status == "started"
    assert state.started is None
    assert [passing.mark for passing in splits(seen)] == [2]
    assert seen[-1].progress == pytest.approx(1_399 * 3 - 15, abs=5)


def test_the_first_splits_of_a_slow_phone_are_uncertain() -> None:
    fixes = [at(second, 3 * second - 15) for second in (500, 1_100)]
    state, seen = follow(guide(STRAIGHT, 1_000), fixes)

    start, split = splits(seen)
    assert state.started is None
    for passing, seconds in ((start, 5), (split, 338)):
        assert passing.uncertainty >= 500
        assert abs((passing.at - GUN) / 1000 - seconds) < 100


def test_a_phone_that_starts_at_the_turn_is_on_neither_leg_at_first() -> None:
    # 10 m from the turn, on either leg.
    fixes = [at(670 + s, 1_990 - 3 * s) for s in range(180)]
    state, seen = follow(guide(OUT_AND_BACK), fixes)

    assert state.status == "started"
    assert seen[-1].progress == pytest.approx(2_010 + 179 * 3, abs=5)


def test_splits_after_a_silence_are_as_uncertain_as_the_silence() -> None:
    fixes = running(STRAIGHT, -60, 0) + running(STRAIGHT, 500, 800)
    state, seen = follow(guide(STRAIGHT, 1_000), fixes)

    start, split = splits(seen)
    assert start.uncertainty >= 500
    assert split.uncertainty >= 490
    assert abs((split.at - GUN) / 1000 - 338) < 200


# -- splits


def test_a_split_is_interpolated_between_the_fixes_around() -> None:
    state, seen = follow(guide(STRAIGHT, 1_000), running(STRAIGHT, 0, 500, step=10))

    _, split = splits(seen)
    assert split.mark == 1
    assert (split.at - GUN) / 1000 == pytest.approx(1_015 / 3, abs=2)
    assert split.uncertainty == 10


def test_a_split_is_recorded_once() -> None:
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


# -- finish


def test_a_loop_is_not_finished_at_its_start() -> None:
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


@pytest.mark.parametrize(
    ("short", "seconds", "status"),
    [
        (8, 60, "finished"),
        (25, 60, "started"),
        (25, 150, "finished"),
        (60, 300, "started"),
    ],
)
def test_a_runner_who_stands_near_the_line_has_finished(
    short: int, seconds: int, status: str
) -> None:
    line = course((0, 0), (1_000, 0))
    bobs = guide(line)
    stop = (1_000 - short + 15) // 3
    stands = [at(second, 1_000 - short) for second in range(stop, stop + seconds)]
    state, seen = follow(bobs, running(line, 0, stop) + stands)

    assert state.status == status
    finishes = [passing.at for passing in splits(seen) if passing.mark == 99]
    assert finishes == ([state.finished] if status == "finished" else [])
    assert all(stands[0].t <= finish <= stands[-1].t for finish in finishes)


def test_a_slow_phone_short_of_the_line_has_finished() -> None:
    run = [at(second, 3 * second - 15) for second in range(-600, 3_001, 600)]
    state, _ = follow(guide(STRAIGHT), [*run, at(3_600, 9_952), at(4_200, 9_972)])

    assert state.status == "finished"
    assert state.finished is not None
    assert 3_000 <= (state.finished - GUN) / 1000 <= 3_600


@pytest.mark.parametrize("back", [2_400, 3_300, 4_000])
def test_a_runner_who_stands_at_the_end_of_the_laps_has_finished(back: int) -> None:
    square = [(500, 0), (500, 500), (0, 500), (0, 0)]
    laps = course((0, 0), *square * 4)
    run = [
        Fix(GUN + 1000 * second, *laps.point_at(max(3.0 * second - 15, 0.0)))
        for second in range(-60, 901, 120)
    ]
    stands = [at(second, 5, -5) for second in range(back, back + 600, 120)]
    state, _ = follow(guide(laps), [*run, *stands])

    assert state.status == "finished"


def test_a_slow_phone_that_is_driven_to_the_finish_has_not_finished() -> None:
    run = [at(second, 3 * second - 15) for second in range(-600, 1_801, 600)]
    # 3,400 m in ten minutes, and then 1,200 m.
    driven = [at(2_400, 8_785), at(3_000, 9_990), at(3_600, 9_990), at(4_200, 9_990)]
    state, _ = follow(guide(STRAIGHT), [*run, *driven])

    assert state.status == "off_course"
    assert state.finished is None


def test_a_finish_is_final() -> None:
    bobs = guide(course((0, 0), (1_000, 0)))
    line = course((0, 0), (1_000, 0))
    state, _ = follow(bobs, running(line, 0, 360))
    home = [at(400 + 10 * s, 1_000 - 30 * s) for s in range(60)]
    state, seen = follow(bobs, home, state)

    assert state.status == "finished"
    assert {one.progress for one in seen} == {bobs.finish}
    assert not splits(seen)
    assert not any(one.held for one in seen)


def test_a_runner_who_appears_at_the_finish_an_hour_later_has_not_finished() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 600))
    bus = [at(4_800 + s, 10_000 + s % 3) for s in range(120)]
    state, seen = follow(bobs, bus, state)

    assert state.status != "finished"
    assert not splits(seen)
    assert state.progress == pytest.approx(599 * 3 - 15, abs=5)


def test_a_slow_phone_after_an_hour_in_a_dead_zone_has_finished() -> None:
    bobs = guide(STRAIGHT, 9_000)
    run = [at(second, 2.4 * second) for second in range(-600, 601, 600)]
    state, seen = follow(bobs, [*run, at(4_260, 10_010), at(4_860, 10_005)])

    assert state.status == "finished"
    assert [passing.mark for passing in splits(seen)] == [0, 1, 99]


@pytest.mark.parametrize(("speed", "silence"), [(4.2, 260), (4.8, 240)])
def test_standing_at_the_line_after_a_silence_is_a_finish(
    speed: float, silence: int
) -> None:
    laps = course(*track(Random(1), 2_000))
    run = running(laps, 0, 260, speed=speed)
    # Others are possible: a rest at the line, one to three laps before the end.
    stands = [
        Fix(GUN + 1000 * second, *laps.point_at(laps.length - 6))
        for second in range(260 + silence, 320 + silence)
    ]
    state, _ = follow(guide(laps), run + stands)

    assert state.status == "finished"


@pytest.mark.parametrize(("back", "over"), [(660, 720), (1_260, 1_265)])
def test_a_finish_that_is_seen_late_is_as_uncertain(back: int, over: int) -> None:
    line = course((0, 0), (2_000, 0))
    # The runner crosses the line at 672 s, during a silence or while errors keep the
    # phone short of it.
    short = [at(second, 1_980) for second in range(back, over, 5)]
    beyond = [at(second, 2_005) for second in range(over, over + 30, 5)]
    state, seen = follow(guide(line), running(line, 0, 650) + short + beyond)

    assert state.status == "finished"
    finish = splits(seen)[-1]
    assert finish.mark == 99
    assert (finish.at - GUN) / 1000 - finish.uncertainty <= 672


def test_a_silence_over_the_finish_is_interpolated() -> None:
    line = course((0, 0), (2_000, 0))
    bobs = guide(line)
    fixes = running(line, 0, 600) + [at(780 + s, 2_010) for s in range(10)]
    state, seen = follow(bobs, fixes)

    assert state.status == "finished"
    finish = splits(seen)[-1]
    assert finish.uncertainty == pytest.approx(181, abs=10)
    assert 600 < (finish.at - GUN) / 1000 <= 790
