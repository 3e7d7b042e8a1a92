from __future__ import annotations

import math
from random import Random
from statistics import correlation, mean, pstdev

import pytest
from msgspec.structs import asdict

from runners.races.course import Course
from runners.races.demo import demo_points
from runners.simulation.motion import (
    FASTEST_M_PER_S,
    LOOP_GAP_M,
    SLOWEST_M_PER_S,
    Motion,
)
from runners.units.earth import METRES_PER_DEGREE

PARK = Course(demo_points())
# A course of 1 km along the equator, one way.
STRAIGHT = Course([(0, 0), (0, 1_000 / 111_319.4908)])


def motion(course: Course = PARK, seed: int = 1, **options: float) -> Motion:
    return Motion(course, random=Random(seed), **({"distance": 0} | options))  # type: ignore[arg-type]


def metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    east = (b[1] - a[1]) * math.cos(math.radians(a[0]))
    return METRES_PER_DEGREE * math.hypot(b[0] - a[0], east)


def test_a_field_runs_at_plausible_and_different_paces() -> None:
    speeds = []
    for seed in range(50):
        runner = motion(seed=seed)
        for _ in range(600):
            runner.step(1, t=0)
        speeds.append(runner.distance / 600)

    assert min(speeds) > SLOWEST_M_PER_S * 0.75 and max(speeds) < FASTEST_M_PER_S * 1.35
    assert pstdev(speeds) > 0.3
    assert mean(speeds) == pytest.approx(3.1, abs=0.3)


def test_a_pace_varies_slowly() -> None:
    runner = motion()
    speeds = []
    for _ in range(1_800):
        before = runner.distance
        runner.step(1, t=0)
        speeds.append(runner.distance - before)

    assert max(speeds) / min(speeds) > 1.1
    assert correlation(speeds[:-5], speeds[5:]) > 0.8


def test_fixes_have_small_and_persistent_errors() -> None:
    runner = motion()
    errors = []
    for _ in range(2_000):
        fix = runner.step(1, t=0)
        true = PARK.point_at(runner.distance % PARK.length)
        errors.append(metres(true, (fix.lat, true[1])))

    assert 1 < mean(errors) < 5
    assert max(errors) < 15
    assert correlation(errors[:-2], errors[2:]) > 0.7


def test_a_fix_is_complete() -> None:
    fix = asdict(motion().step(1.5, t=1_780_210_800_000))

    assert fix["t"] == 1_780_210_800_000
    assert 3 <= fix["accuracy"] <= 15
    assert 0 <= fix["heading"] < 360
    assert 0 < fix["battery"] <= 100
    assert fix["speed"] == pytest.approx(3.1, abs=1.5)


def test_a_factor_makes_runners_faster() -> None:
    usual, fast = motion(), motion(factor=10)
    for runner in (usual, fast):
        for _ in range(60):
            runner.step(1, t=0)

    assert fast.distance / usual.distance == pytest.approx(10, rel=0.2)


def test_laps_follow_each_other_on_a_loop() -> None:
    runner = motion(distance=PARK.length - 1)
    fix = runner.step(1, t=0)

    assert metres(PARK.point_at(0), (fix.lat, fix.lng)) < 25
    assert not runner.finished


def test_a_runner_turns_at_the_end_of_a_course_that_is_no_loop() -> None:
    assert metres(STRAIGHT.point_at(0), STRAIGHT.point_at(1_000)) > LOOP_GAP_M
    runner = motion(STRAIGHT, distance=1_300)
    fix = runner.step(0.001, t=0)

    assert metres(STRAIGHT.point_at(700), (fix.lat, fix.lng)) < 15
    assert fix.heading == pytest.approx(270, abs=20)


def test_a_runner_finishes_after_the_last_lap() -> None:
    runner = motion(distance=2 * PARK.length - 5, laps=2)
    assert not runner.finished
    for _ in range(5):
        runner.step(1, t=0)

    assert runner.finished
    assert runner.distance == 2 * PARK.length
