"""Finds where the course passes a place that a client names."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import orjson

from runners.races.course import WGS84, Course
from runners.units.errors import CodedError

# Distances from the course within which a point is accepted, tried in this order. The
# least one distinguishes parallel streets, and the way out from the way back.
REACHES_M = (30.0, 100.0, 300.0)
PLACES_KEPT = 256


class Place(NamedTuple):
    """A place of the course: the metres of its passes, and its part of an answer."""

    passes: tuple[float, ...]
    answer: orjson.Fragment


@lru_cache(maxsize=PLACES_KEPT)
def place_of(course: Course, at: str) -> Place:
    """Return the place at "METRES" or "LAT,LNG"; raises `CodedError`."""
    try:
        figures = [float(part) for part in at.split(",")]
    except ValueError:
        figures = []
    if not all(map(math.isfinite, figures)) or len(figures) not in (1, 2):
        raise _invalid("must be metres along the course, or a position as lat,lng.")
    if len(figures) == 1:
        (own,) = figures
        if not 0 <= own <= course.length + 1:
            raise CodedError(
                "place.off_course",
                f"The course is {course.length / 1000:.1f} km long; `at` is in metres.",
            )
    else:
        own = _nearest(course, *figures)
    # Answers are kept by their place.
    own = min(float(round(own)), course.length)
    there = course.passes(*course.point_at(own), within=REACHES_M[0])
    # The requested distance, and not the other end of the same segment.
    others = [distance for distance in there if abs(distance - own) > 2 * REACHES_M[0]]
    passes = sorted([own, *others])
    lat, lng = course.point_at(passes[0])
    answer = {
        "lat": round(lat, 6),
        "lng": round(lng, 6),
        "passes": [round(distance, 1) for distance in passes],
    }
    return Place(tuple(passes), orjson.Fragment(orjson.dumps(answer)))


def _nearest(course: Course, lat: float, lng: float) -> float:
    if not (-90 <= lat <= 90 and -180 <= lng <= 180):
        raise _invalid("is not on earth: lat,lng in degrees.")
    for reach in REACHES_M:
        if near := course.passes(lat, lng, within=reach):
            return min(near, key=lambda d: _metres(lat, lng, *course.point_at(d)))
    raise CodedError(
        "place.off_course",
        f"The course does not come within {REACHES_M[-1]:.0f} m of `at`. "
        "Choose a place on the course.",
    )


def _metres(lat: float, lng: float, to_lat: float, to_lng: float) -> float:
    return float(WGS84.inv(lng, lat, to_lng, to_lat)[2])


def _invalid(problem: str) -> CodedError:
    return CodedError("request.invalid", f"`at` {problem}")
