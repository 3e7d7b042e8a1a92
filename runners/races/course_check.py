"""Detects faults of a course as drawn or recorded, and repairs them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from statistics import median
from typing import NamedTuple

import numpy as np

from runners.races.course import Course

# A straight stretch between two points is a gap if it is longer than GAP_M, and longer
# than GAP_FACTOR times the usual distance of points.
GAP_M = 200.0
GAP_FACTOR = 15.0
# No race is this high, or goes up and down by this share of its length.
HIGHEST_M = 5_900.0
STEEPEST = 0.16
# Slopes are measured between points this far apart.
SLOPE_STEP_M = 200.0
# A lap is recorded twice if both copies are within this distance everywhere.
SAME_LAP_M = 25.0
FOOT_M = 0.3048


class CourseProblem(NamedTuple):
    """A text for the organiser, and the key of the repair, or ""."""

    text: str
    repair: str = ""


def course_problems(course: Course) -> list[CourseProblem]:
    """Return the warnings that an organiser should check before the race."""
    found = [*_gaps(course), *_heights(course)]
    if _repeats(course):
        found.append(
            CourseProblem(
                "The second half runs over the first one again, all the way: if the "
                "race is one lap, the lap was recorded twice.",
                "lap",
            )
        )
    return found


def _gaps(course: Course) -> list[CourseProblem]:
    steps = np.diff(course.distances)
    least = max(GAP_M, GAP_FACTOR * median(steps))
    gaps = [
        f"{steps[index]:,.0f} m at {course.distances[index] / 1000:.1f} km"
        for index in np.flatnonzero(steps > least)
    ]
    if not gaps:
        return []
    return [
        CourseProblem(
            f"The line is straight where points are missing: {', '.join(gaps[:5])}"
            f"{', …' if len(gaps) > 5 else ''}. Draw it there and upload it again."
        )
    ]


def _heights(course: Course) -> list[CourseProblem]:
    heights = [height for _, _, height in course.points if height is not None]
    missing = len(course.points) - len(heights)
    if not heights:
        return [
            CourseProblem(
                "The file has no heights: arrival times do not know the slopes."
            )
        ]
    found = []
    if missing:
        found.append(
            CourseProblem(
                f"{missing:,} of {len(course.points):,} points have no height.",
                "heights",
            )
        )
    if max(heights) > HIGHEST_M or _steepness(course) > STEEPEST:
        found.append(
            CourseProblem(
                f"The heights, up to {max(heights):,.0f} m, look like feet.", "feet"
            )
        )
    return found


def _steepness(course: Course) -> float:
    """Return the metres up and down per metre of the course."""
    distances = np.arange(0.0, course.length, SLOPE_STEP_M)
    heights = np.interp(distances, *np.array(course.known_heights).T)
    return float(np.abs(np.diff(heights)).sum() / max(course.length, SLOPE_STEP_M))


def _repeats(course: Course) -> bool:
    """Return whether the second half of a course is the first one again."""
    half = course.length / 2
    x, y = course.flat
    first = np.linspace(0, half, 60)

    def at(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.interp(distances, course.distances, x),
            np.interp(distances, course.distances, y),
        )

    (x1, y1), (x2, y2) = at(first), at(first + half)
    return bool((np.hypot(x1 - x2, y1 - y2) <= SAME_LAP_M).all())


# -- repairs


def repair_course(course: Course, repairs: Collection[str]) -> Course:
    """Return a course with these repairs: keys of `REPAIRS`."""
    for key in repairs:
        course = REPAIRS[key].repair(course)
    return course


def _first_half(course: Course) -> Course:
    count = sum(distance <= course.length / 2 for distance in course.distances)
    return Course([*course.points[:count], course.point_at(course.length / 2)])


def _in_metres(course: Course) -> Course:
    return Course(
        [
            (lat, lng, None if height is None else height * FOOT_M)
            for lat, lng, height in course.points
        ]
    )


def _with_heights(course: Course) -> Course:
    if not (known := course.known_heights):
        return course
    heights = np.interp(course.distances, *np.array(known).T)
    return Course(
        [
            (lat, lng, float(height))
            for (lat, lng, _), height in zip(course.points, heights, strict=True)
        ]
    )


class Repair(NamedTuple):
    """A way to repair a course, and its name in a form."""

    label: str
    repair: Callable[[Course], Course]


REPAIRS = {
    "feet": Repair("The heights are in feet: convert them to metres", _in_metres),
    "heights": Repair("Fill in missing heights from those around them", _with_heights),
    "lap": Repair("The lap was recorded twice: keep the first one", _first_half),
}
