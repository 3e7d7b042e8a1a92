"""Detects faults of a course as drawn or recorded, and repairs them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from statistics import median
from typing import NamedTuple

import numpy as np

from runners.races.course import Course

# A straight stretch between two points is a gap if it is longer than this, and so many
# times as long as is usual on the course. Metres.
GAP_M, GAP_TIMES = 200.0, 15.0
# No race is this high, or goes up and down by this share of its length. Metres.
HIGHEST_M, STEEPEST = 5_900.0, 0.16
# Slopes are measured between places so far apart. Metres.
SLOPE_STEP_M = 200.0
# A lap is recorded twice if both are within this many metres of each other everywhere.
SAME_LAP_M = 25.0
FOOT_M = 0.3048


class Oddity(NamedTuple):
    """Something odd: a text for the organiser, and the key of what mends it, or ""."""

    text: str
    mend: str = ""


def oddities(course: Course) -> list[Oddity]:
    """Return what an organiser should check before the race."""
    found = [*_gaps(course), *_heights(course)]
    if _repeats(course):
        found.append(
            Oddity(
                "The second half runs over the first one again, all the way: if the "
                "race is one lap, the lap was recorded twice.",
                "lap",
            )
        )
    return found


def _gaps(course: Course) -> list[Oddity]:
    steps = np.diff(course.distances)
    least = max(GAP_M, GAP_TIMES * median(steps))
    gaps = [
        f"{steps[index]:,.0f} m at {course.distances[index] / 1000:.1f} km"
        for index in np.flatnonzero(steps > least)
    ]
    if not gaps:
        return []
    return [
        Oddity(
            f"The line is straight where points are missing: {', '.join(gaps[:5])}"
            f"{', …' if len(gaps) > 5 else ''}. Draw it there and upload it again."
        )
    ]


def _heights(course: Course) -> list[Oddity]:
    heights = [height for _, _, height in course.points if height is not None]
    missing = len(course.points) - len(heights)
    if not heights:
        return [
            Oddity("The file has no heights: arrival times do not know the slopes.")
        ]
    found = []
    if missing:
        found.append(
            Oddity(
                f"{missing:,} of {len(course.points):,} points have no height.",
                "heights",
            )
        )
    if max(heights) > HIGHEST_M or _steepness(course) > STEEPEST:
        found.append(
            Oddity(f"The heights, up to {max(heights):,.0f} m, look like feet.", "feet")
        )
    return found


def _steepness(course: Course) -> float:
    """Return the metres up and down per metre of the course."""
    places = np.arange(0.0, course.length, SLOPE_STEP_M)
    heights = np.interp(places, *_known_heights(course))
    return float(np.abs(np.diff(heights)).sum() / max(course.length, SLOPE_STEP_M))


def _known_heights(course: Course) -> tuple[list[float], list[float]]:
    """Return the distances at which heights are known, and the heights."""
    known = [
        (distance, point[2])
        for distance, point in zip(course.distances, course.points, strict=True)
        if point[2] is not None
    ]
    return [distance for distance, _ in known], [height for _, height in known]


def _repeats(course: Course) -> bool:
    """Return whether the second half of a course is the first one again."""
    half = course.length / 2
    x, y = course.flat
    first = np.linspace(0, half, 60)

    def at(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.interp(places, course.distances, x),
            np.interp(places, course.distances, y),
        )

    (x1, y1), (x2, y2) = at(first), at(first + half)
    return bool((np.hypot(x1 - x2, y1 - y2) <= SAME_LAP_M).all())


# Mending


def mend_course(course: Course, mends: Collection[str]) -> Course:
    """Return a course with these things mended: keys of `MENDS`."""
    for key in mends:
        course = MENDS[key].mend(course)
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
    distances, known = _known_heights(course)
    if not known:
        return course
    heights = np.interp(course.distances, distances, known)
    return Course(
        [
            (lat, lng, float(height))
            for (lat, lng, _), height in zip(course.points, heights, strict=True)
        ]
    )


class Mend(NamedTuple):
    """A way to mend a course, and what it is called in a form."""

    label: str
    mend: Callable[[Course], Course]


MENDS = {
    "feet": Mend("The heights are in feet: convert them to metres", _in_metres),
    "heights": Mend("Fill in missing heights from those around them", _with_heights),
    "lap": Mend("The lap was recorded twice: keep the first one", _first_half),
}
