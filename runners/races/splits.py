"""Checkpoints along a course, and the times when a runner passed them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runners.races.course import Course

# The line passes a mark within this distance of it.
REACH_M = 25.0
# A pass within this distance of a different mark, along the line, belongs to that mark.
OWN_REACH_M = 50.0
# The direction at a point is measured over this distance before and after it.
DIRECTION_REACH_M = 10.0
# The least cosine of two directions that count as the same.
SAME_WAY = 0.7


class Mark(NamedTuple):
    """A checkpoint for the computation of progress: kind is start, split or finish."""

    id: int
    distance: float
    kind: str


class Pass(NamedTuple):
    """One pass of a mark by the course."""

    distance: float
    mark: int
    pass_number: int


class Passing(NamedTuple):
    """A runner passed a mark: `at` in ms, `uncertainty` in seconds.

    The uncertainty is the time between the fixes before and after, or the error in time
    of their positions, if that is greater.
    """

    mark: int
    distance: float
    pass_number: int
    at: int
    uncertainty: float


class Node(NamedTuple):
    """A time (ms) and the runner's distance along the course."""

    t: float
    distance: float


def passes_of(course: Course, marks: Sequence[Mark]) -> list[Pass]:
    """Return all passes of the marks by the course, in the order of the race.

    Start and finish are passed once. A split in the first lap is passed again each time
    that the line returns in the same direction, unless a different mark is there. One
    in a later lap belongs to that lap only. The way back of an out-and-back course is
    not a lap, and needs a separate checkpoint.
    """
    found = []
    for mark in marks:
        own = min(mark.distance, course.length)
        found.append(Pass(own, mark.id, 1))
        if mark.kind != "split":
            continue
        laps = [
            distance
            for distance in course.passes(*course.point_at(own), within=REACH_M)
            if _same_way(course, own, distance)
            and not any(
                abs(distance - other.distance) <= OWN_REACH_M
                for other in marks
                if other.kind != "split"
            )
        ]
        if laps and laps[0] < own - OWN_REACH_M:
            continue
        free = [
            distance
            for distance in laps
            if all(abs(distance - other.distance) > OWN_REACH_M for other in marks)
        ]
        found += [
            Pass(distance, mark.id, number)
            for number, distance in enumerate(free, start=2)
        ]
    return sorted(found)


def passings(
    passes: Sequence[Pass], first: int, nodes: Iterable[Node], doubt: float
) -> tuple[tuple[Passing, ...], int]:
    """Return the marks passed between nodes, and the index of the next pass.

    `first` is the index of the first pass to expect. Times are interpolated between the
    nodes before and after. `doubt` is the uncertainty of these nodes' times in seconds.
    """
    found = []
    before: Node | None = None
    for node in nodes:
        while first < len(passes) and passes[first].distance <= node.distance:
            distance, mark, number = passes[first]
            at, between = node.t, 0.0
            if before is not None and node.distance > before.distance:
                between = node.t - before.t
                part = (distance - before.distance) / (node.distance - before.distance)
                at = before.t + max(part, 0.0) * between
            uncertainty = max(between / 1000, round(doubt, 1))
            found.append(Passing(mark, distance, number, round(at), uncertainty))
            first += 1
        before = node
    return tuple(found), first


def _same_way(course: Course, one: float, other: float) -> bool:
    (east, north), (other_east, other_north) = _way(course, one), _way(course, other)
    return east * other_east + north * other_north >= SAME_WAY


def _way(course: Course, distance: float) -> tuple[float, float]:
    """Return the line's direction at a distance as a unit vector."""
    ends = [
        course.point_at(distance + step)
        for step in (-DIRECTION_REACH_M, DIRECTION_REACH_M)
    ]
    (x, y), (to_x, to_y) = (course.to_flat.transform(lng, lat) for lat, lng in ends)
    run = max(((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5, 1e-9)
    return (to_x - x) / run, (to_y - y) / run
