"""Problems of an imported course, and their repair."""

from __future__ import annotations

import pytest

from runners.races.course import Course
from runners.races.course_check import course_problems, repair_course

METRE_DEGREES = 1 / 111_195


def line(
    *, length: int = 5_000, gap: int = 0, height: float | None = 100.0
) -> list[tuple[float, float, float | None]]:
    """Return points every 10 m to the north, without those of a gap at 2 km."""
    return [
        (47 + metre * METRE_DEGREES, 8.0, height)
        for metre in range(0, length + 1, 10)
        if not 2_000 < metre < 2_000 + gap
    ]


def ring(laps: int) -> list[tuple[float, float, float]]:
    square = [(x, y) for x, y in ((0, 0), (500, 0), (500, 500), (0, 500))]
    return [
        (47 + y * METRE_DEGREES, 8 + x * METRE_DEGREES, 100.0)
        for _ in range(laps)
        for x, y in square
    ] + [(47.0, 8.0, 100.0)]


def test_a_usual_course_has_no_problem() -> None:
    assert course_problems(Course(line())) == []


def test_a_straight_gap_is_reported_with_its_distance() -> None:
    (problem,) = course_problems(Course(line(gap=944)))

    assert "950 m at 2.0 km" in problem.text
    assert not problem.repair


def test_heights_in_feet_are_converted() -> None:
    # Hills of 100 m, one per kilometre.
    points = [
        (lat, lng, 3.281 * (1_000 + abs(metre % 200 - 100)))
        for metre, (lat, lng, _) in enumerate(line())
    ]
    (problem,) = course_problems(Course(points))
    assert problem.repair == "feet"
    repaired = repair_course(Course(points), ["feet"])

    assert repaired.points[0][2] == pytest.approx(1_100, abs=1)
    assert course_problems(repaired) == []


def test_a_lap_that_was_recorded_twice_is_cut() -> None:
    twice = Course(ring(2))
    (problem,) = course_problems(twice)
    assert problem.repair == "lap"
    repaired = repair_course(twice, ["lap"])

    assert repaired.length == pytest.approx(twice.length / 2, rel=0.001)
    assert course_problems(repaired) == []


def test_the_way_back_is_no_second_lap() -> None:
    assert course_problems(Course([*line(), *line()[::-1]])) == []


def test_missing_heights_are_interpolated() -> None:
    points = [(*point[:2], None if n % 5 else n) for n, point in enumerate(line())]
    (problem,) = course_problems(Course(points))
    assert problem.repair == "heights"
    repaired = repair_course(Course(points), ["heights"])

    assert repaired.points[7][2] == pytest.approx(7)
    assert course_problems(repaired) == []


def test_a_course_without_heights_is_reported() -> None:
    (problem,) = course_problems(Course(line(height=None)))

    assert "no heights" in problem.text
