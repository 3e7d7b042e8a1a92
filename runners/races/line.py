"""A course as flat segments, and the places on it that fit a fix."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runners.races.course import Course

# Segments in a circle that is looked at before they are.
CHUNK = 32
# The line goes straight on for so many metres behind its end: the runner does too.
BEYOND = 50.0
# What a heading against the line's own counts, as the square of a deviation.
HEADING_WEIGHT = 6.0


Floats = npt.NDArray[np.float64]


class Place(NamedTuple):
    """A place on the line: metres along it and beside it, and how badly it fits."""

    distance: float
    beside: float
    cost: float


class Prior(NamedTuple):
    """Where on the line a runner should be: mean and variance, and the bounds."""

    mean: float
    variance: float
    low: float
    high: float


class Sight(NamedTuple):
    """A fix as the line sees it: metres on the flat, variance of each axis.

    `east` and `north` are the heading, times how far it can be trusted.
    """

    x: float
    y: float
    variance: float
    east: float
    north: float


class Line:
    """The segments of a course on its flat projection, scaled to its length."""

    def __init__(self, course: Course) -> None:
        self._to_flat = course.to_flat
        self._scale = course.length / course.measured
        x, y = (axis * self._scale for axis in course.flat)
        self.distances = course.distances
        self.length = course.length
        self._along = np.array(course.distances[:-1])
        run = np.diff(np.array(course.distances))
        run_x, run_y = np.diff(x), np.diff(y)
        flat_run = np.maximum(np.hypot(run_x, run_y), 1e-9)
        self._x, self._y = x[:-1], y[:-1]
        self._east, self._north = run_x / flat_run, run_y / flat_run
        self._run = run
        self._run[-1] += BEYOND
        self._chunk()

    def _chunk(self) -> None:
        count = len(self._x)
        first = np.arange(0, count, CHUNK)
        last = np.minimum(first + CHUNK, count) - 1
        end_x = self._x + self._east * self._run
        end_y = self._y + self._north * self._run
        left = np.minimum.reduceat(np.minimum(self._x, end_x), first)
        right = np.maximum.reduceat(np.maximum(self._x, end_x), first)
        low = np.minimum.reduceat(np.minimum(self._y, end_y), first)
        high = np.maximum.reduceat(np.maximum(self._y, end_y), first)
        self._chunk_x, self._chunk_y = (left + right) / 2, (low + high) / 2
        self._chunk_radius = np.hypot(right - left, high - low) / 2
        self._chunk_from = self._along[first]
        self._chunk_to = self._along[last] + self._run[last]

    def flat(self, lat: float, lng: float) -> tuple[float, float]:
        """Return the x and y of a place, in the course's metres."""
        x, y = self._to_flat.transform(lng, lat)
        return x * self._scale, y * self._scale

    def at(self, distances: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return x and y of places on the line, and its direction east and north."""
        index = np.searchsorted(self._along, distances, side="right") - 1
        on = distances - self._along[index]
        east, north = self._east[index], self._north[index]
        return self._x[index] + east * on, self._y[index] + north * on, east, north

    def best(self, sight: Sight, prior: Prior) -> Place:
        """Return the likeliest place between the prior's bounds.

        It weighs the distance from the fix against the distance from where the runner
        should be: the mode of the posterior on each segment in closed form, of which
        the best counts. On a line that turns back on itself both ways are weighed.
        """
        first = max(bisect_right(self.distances, prior.low) - 1, 0)
        last = max(bisect_left(self.distances, prior.high), first + 1)
        part = slice(min(first, len(self._x) - 1), last)
        along, beside, cost = self._weigh(part, sight, prior)
        best = int(cost.argmin())
        return Place(float(along[best]), float(beside[best]), float(cost[best]))

    def all(
        self, sight: Sight, prior: Prior, *, within: float, apart: float
    ) -> list[Place]:
        """Return every place within some metres of the fix, the likeliest first.

        Of places less than `apart` along the line only the likeliest.
        """
        near = np.flatnonzero(
            (
                np.hypot(self._chunk_x - sight.x, self._chunk_y - sight.y)
                <= self._chunk_radius + within
            )
            & (self._chunk_to >= prior.low)
            & (self._chunk_from <= prior.high)
        )
        if not near.size:
            return []
        part = (near[:, None] * CHUNK + np.arange(CHUNK)).ravel()
        part = part[part < len(self._x)]
        along, beside, cost = self._weigh(part, sight, prior)
        fits = (beside <= within) & (along >= prior.low) & (along <= prior.high)
        along, beside, cost = along[fits], beside[fits], cost[fits]
        found: list[Place] = []
        while cost.size:
            best = int(cost.argmin())
            distance = float(along[best])
            found.append(Place(distance, float(beside[best]), float(cost[best])))
            left = np.abs(along - distance) >= apart
            along, beside, cost = along[left], beside[left], cost[left]
        return found

    def _weigh(
        self, part: slice | np.ndarray, sight: Sight, prior: Prior
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        start, run = self._along[part], self._run[part]
        east, north = self._east[part], self._north[part]
        off_x, off_y = sight.x - self._x[part], sight.y - self._y[part]
        measured = off_x * east + off_y * north
        across = off_x * north - off_y * east
        should = prior.mean - start
        weight = prior.variance / (prior.variance + sight.variance)
        on = should + weight * (measured - should)
        on = np.minimum(np.maximum(on, 0.0), run)
        beside = across * across + (measured - on) ** 2
        cost = beside / sight.variance + (on - should) ** 2 / prior.variance
        if sight.east or sight.north:
            cost = cost + (1.0 - (sight.east * east + sight.north * north)) * (
                HEADING_WEIGHT
            )
        return start + on, np.sqrt(beside), cost


def sight_of(
    x: float,
    y: float,
    sigma: float,
    *,
    speed: float | None,
    heading: float | None,
) -> Sight:
    """Return a fix as the line sees it; a heading counts while the runner moves."""
    if heading is None or (speed is not None and speed < 1.0):
        return Sight(x, y, sigma * sigma, 0.0, 0.0)
    trust = 0.5 if speed is None else 1.0
    angle = math.radians(heading)
    return Sight(x, y, sigma * sigma, trust * math.sin(angle), trust * math.cos(angle))
