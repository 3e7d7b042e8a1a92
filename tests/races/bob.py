"""Bob's race in metres east and north of 0, 0, with exact fixes."""

from __future__ import annotations

from collections.abc import Iterable

from bench.truth.courses import Place
from bench.truth.runs import GUN_MS, Fix
from runners.races.course import Course
from runners.races.progress import Guide, Mark, Seen, State
from runners.races.splits import Passing

GUN = GUN_MS
# Degrees at 0, 0.
METRES_PER_DEGREE_EAST = 111_319.4908
METRES_PER_DEGREE_NORTH = 110_574.2727


def at(seconds: float, east: float, north: float = 0.0, **more: float | None) -> Fix:
    return Fix(
        GUN + round(seconds * 1000),
        north / METRES_PER_DEGREE_NORTH,
        east / METRES_PER_DEGREE_EAST,
        **more,
    )


def course(*places: Place) -> Course:
    return Course(
        [
            (north / METRES_PER_DEGREE_NORTH, east / METRES_PER_DEGREE_EAST)
            for east, north in places
        ]
    )


def guide(line: Course, *splits: float) -> Guide:
    """Return Bob's guide: start (0), splits numbered from 1, finish (99)."""
    marks = [Mark(n, distance, "split") for n, distance in enumerate(splits, start=1)]
    return Guide(line, [Mark(0, 0.0, "start"), *marks, Mark(99, line.length, "finish")])


STRAIGHT = course((0, 0), (10_000, 0))
OUT_AND_BACK = course((0, 0), (2_000, 0), (0, 0))


def laps_of(side: float, laps: int) -> Course:
    """Return a course of square laps."""
    return course((0, 0), *[(side, 0), (side, side), (0, side), (0, 0)] * laps)


def along(line: Course, *places: tuple[int, float]) -> list[Fix]:
    """Return fixes at (seconds, metres along the course)."""
    return [Fix(GUN + 1000 * s, *line.point_at(distance)) for s, distance in places]


def every_ten_minutes(line: Course, *distances: float) -> list[Fix]:
    """Return the fixes of a slow phone, the first at 600 s."""
    return along(line, *((600 * n, d) for n, d in enumerate(distances, start=1)))


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
    """Return fixes at an even speed from 15 m before the start, passed at 5 s."""
    fixes = []
    for second in range(since, until, step):
        distance = speed * second - 15
        lat, lng = line.point_at(distance)
        behind = min(distance, 0) / METRES_PER_DEGREE_EAST
        fixes.append(Fix(GUN + second * 1000, lat, lng + behind))
    return fixes
