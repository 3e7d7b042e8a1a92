"""A course as segments of a plane, and the places on it that fit a fix."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from shapely import LineString

from runners.races.course import Course

# Points of the course within TOLERANCE_M of the simplified line are left out, except
# one every SEGMENT_M.
TOLERANCE_M = 1.0
SEGMENT_M = 100.0
# Segments per circle. A fix is compared with circles before their segments.
CHUNK = 16
# The line is extended straight behind its end, because runners go on after the finish.
BEYOND_M = 50.0
# Minima within this distance along the line are one.
SAME_M = 10.0
# The cost of a heading against the line's direction, as a squared deviation.
HEADING_COST = 6.0

Floats = npt.NDArray[np.float64]


class Spot(NamedTuple):
    """A fix on the plane of a line, in metres.

    `east` and `north` are its heading, scaled by its reliability.
    """

    x: float
    y: float
    east: float = 0.0
    north: float = 0.0


class Place(NamedTuple):
    """A place on the line: metres along it and beside it, and the cost of its misfit.

    `inside` a segment, not at a joint of two or an end.
    """

    distance: float
    beside: float
    cost: float
    inside: bool


class Line:
    """The segments of a course, simplified; read-only.

    The plane is equirectangular about the middle of the course: distances between
    places a few hundred metres apart are true to 1.5 % on a course of 160 km.
    """

    def __init__(self, course: Course) -> None:
        self.length = course.length
        scale = course.length / course.measured
        lats = np.array(course.lats)
        self._lat, self._lng = float(lats[0]), course.lngs[0]
        middle = math.radians((float(lats.min()) + float(lats.max())) / 2)
        self._per_lat = scale * (111_132.95 - 559.85 * math.cos(2 * middle))
        self._per_lng = scale * (
            111_412.88 * math.cos(middle) - 93.5 * math.cos(3 * middle)
        )
        x = ((np.array(course.lngs) - self._lng + 180) % 360 - 180) * self._per_lng
        y = (lats - self._lat) * self._per_lat
        along = np.array(course.distances)
        kept = _simplified(x, y, along)
        x, y, along = x[kept], y[kept], along[kept]
        run = np.diff(along)
        flat = np.maximum(np.hypot(np.diff(x), np.diff(y)), 1e-9)
        east, north = np.diff(x) / flat, np.diff(y) / flat
        run[-1] += BEYOND_M
        # Lists, because a loop over a few floats is faster than numpy's calls.
        self._x, self._y = x[:-1].tolist(), y[:-1].tolist()
        self._east, self._north = east.tolist(), north.tolist()
        self._run = run.tolist()
        self._along: list[float] = along[:-1].tolist()
        self._chunk(x[:-1], y[:-1], x[:-1] + east * run, y[:-1] + north * run)

    def _chunk(self, x: Floats, y: Floats, end_x: Floats, end_y: Floats) -> None:
        first = np.arange(0, len(x), CHUNK)
        left = np.minimum.reduceat(np.minimum(x, end_x), first)
        right = np.maximum.reduceat(np.maximum(x, end_x), first)
        low = np.minimum.reduceat(np.minimum(y, end_y), first)
        high = np.maximum.reduceat(np.maximum(y, end_y), first)
        self._chunk_x, self._chunk_y = (left + right) / 2, (low + high) / 2
        self._chunk_radius = np.hypot(right - left, high - low) / 2
        self._chunk_along = self._along[::CHUNK]

    def place(self, lat: float, lng: float) -> tuple[float, float]:
        """Return the x and y of a place."""
        east = lng - self._lng
        if not -180 <= east <= 180:
            east = (east + 180) % 360 - 180
        return east * self._per_lng, (lat - self._lat) * self._per_lat

    def gap(self, one: float, other: float) -> float:
        """Return how far apart the places at two distances along the line are."""
        (x, y), (to_x, to_y) = self._at(one), self._at(other)
        return math.hypot(to_x - x, to_y - y)

    def _at(self, distance: float) -> tuple[float, float]:
        i = max(bisect_right(self._along, distance) - 1, 0)
        on = distance - self._along[i]
        return self._x[i] + on * self._east[i], self._y[i] + on * self._north[i]

    def along(
        self,
        spot: Spot,
        noise: float,
        mean: float,
        variance: float,
        low: float,
        high: float,
    ) -> list[Place]:
        """Return the likeliest places about from `low` to `high`, in order.

        They are the local minima of the squared distance from the fix, by `noise` (the
        variance of each axis), plus that from the prior's `mean` along the line, by its
        `variance`: the modes of the posterior, in closed form on each segment.
        """
        first = max(bisect_right(self._along, low) - 1, 0)
        last = max(bisect_left(self._along, high), first + 1)
        last = min(last, len(self._along))
        return self._modes(spot, noise, mean, variance, first, last)

    def near(
        self, spot: Spot, noise: float, within: float, low: float, high: float
    ) -> list[Place]:
        """Return the places within some metres of a fix, from `low` to `high`.

        As `along` without a prior, for stretches so long that circles around parts of
        the line are compared with the fix first.
        """
        # A chunk more on either side, so that no end of the range is a joint.
        begin = max(bisect_right(self._chunk_along, low) - 2, 0)
        chunks = slice(begin, bisect_right(self._chunk_along, high) + 1)
        away = np.hypot(self._chunk_x[chunks] - spot.x, self._chunk_y[chunks] - spot.y)
        close = np.flatnonzero(away <= self._chunk_radius[chunks] + within)
        return [
            place
            for first, last in _runs((close + begin).tolist())
            for place in self._modes(
                spot,
                noise,
                0.0,
                math.inf,
                first * CHUNK,
                min(last * CHUNK, len(self._x)),
            )
            if place.beside <= within and low <= place.distance <= high
        ]

    def _modes(
        self,
        spot: Spot,
        noise: float,
        mean: float,
        variance: float,
        first: int,
        last: int,
    ) -> list[Place]:
        x, y, heading_east, heading_north = spot
        weight = 1.0 if variance == math.inf else variance / (variance + noise)
        xs, ys, easts, norths = self._x, self._y, self._east, self._north
        alongs, runs = self._along, self._run
        found: list[Place] = []
        # A mode at a joint belongs to both segments.
        at_end = True
        for i in range(first, last):
            east, north = easts[i], norths[i]
            off_x, off_y = x - xs[i], y - ys[i]
            measured = off_x * east + off_y * north
            should = mean - alongs[i]
            on = should + weight * (measured - should)
            inside = False
            if on < 0.0:
                if not at_end:
                    continue
                on, at_end = 0.0, False
            elif on >= runs[i]:
                at_end = True
                if i + 1 < last:
                    continue
                on = runs[i]
            else:
                at_end, inside = False, True
            across = off_x * north - off_y * east
            square = across * across + (measured - on) ** 2
            cost = square / noise + (on - should) ** 2 / variance
            if heading_east != 0 or heading_north != 0:
                same = heading_east * east + heading_north * north
                cost += HEADING_COST * (1.0 - same)
            beside = abs(across) if inside else math.sqrt(square)
            place = Place(alongs[i] + on, beside, cost, inside)
            if not found or place.distance > found[-1].distance + SAME_M:
                found.append(place)
            elif cost < found[-1].cost:
                found[-1] = place
        return found


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last number plus 1 of each run of ascending numbers.

    Minima at the joint of two chunks are found if both are searched at once.
    """
    first = last = -1
    for number in numbers:
        if number != last:
            if last >= 0:
                yield first, last
            first = number
        last = number + 1
    if last >= 0:
        yield first, last


def _simplified(x: Floats, y: Floats, along: Floats) -> npt.NDArray[np.intp]:
    """Return the indexes of the points that make the simplified line."""
    line = LineString(np.column_stack([x, y, along]))
    simple = np.array(line.simplify(TOLERANCE_M, preserve_topology=False).coords)
    kept = np.searchsorted(along, simple[:, 2])
    some = np.searchsorted(along, np.arange(0.0, along[-1], SEGMENT_M))
    ends = [0, len(along) - 1]
    return np.unique(np.concatenate([kept, some, ends]))


def spot_of(x: float, y: float, *, speed: float | None, heading: float | None) -> Spot:
    """Return a fix on the plane; a heading counts while the runner moves."""
    if heading is None or (speed is not None and speed < 1.0):
        return Spot(x, y)
    trust = 0.5 if speed is None else 1.0
    angle = math.radians(heading)
    return Spot(x, y, trust * math.sin(angle), trust * math.cos(angle))
