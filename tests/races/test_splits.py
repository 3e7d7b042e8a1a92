"""The times of the start, of splits and of the finish."""

from __future__ import annotations

from random import Random

import pytest

from tests.races.bob import (
    GUN,
    OUT_AND_BACK,
    STRAIGHT,
    at,
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
