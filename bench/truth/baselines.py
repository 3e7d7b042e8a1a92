"""Three well-known methods to compute the progress of a fix, for comparison."""

from __future__ import annotations

import math

import numpy as np

from bench.truth.runs import Fix, Floats
from runners.races.course import Course
from runners.units.earth import METRES_PER_DEGREE

TOP_SPEED = 7.0


class Flat:
    """The segments of a course on a plane."""

    def __init__(self, course: Course) -> None:
        self.shrink = math.cos(math.radians(course.lats[0]))
        self.lat, self.lng = course.lats[0], course.lngs[0]
        x, y = self.place(np.array(course.lats), np.array(course.lngs))
        self.x, self.y, self.along = x[:-1], y[:-1], np.array(course.distances[:-1])
        self.run_x, self.run_y = np.diff(x), np.diff(y)
        self.length = np.diff(np.array(course.distances))
        self.squared = np.maximum(self.run_x**2 + self.run_y**2, 1e-9)

    def place(self, lat: Floats | float, lng: Floats | float) -> tuple[Floats, Floats]:
        """Return x and y of places, in metres east and north of the start."""
        east = (np.asarray(lng) - self.lng) * METRES_PER_DEGREE * self.shrink
        return east, (np.asarray(lat) - self.lat) * METRES_PER_DEGREE

    def near(self, fix: Fix) -> tuple[Floats, Floats]:
        """Return the distance of a fix from each segment, and its nearest point along
        each.
        """
        x, y = self.place(fix.lat, fix.lng)
        off_x, off_y = x - self.x, y - self.y
        part = np.clip(
            (off_x * self.run_x + off_y * self.run_y) / self.squared, 0.0, 1.0
        )
        gap = np.hypot(off_x - part * self.run_x, off_y - part * self.run_y)
        return gap, self.along + part * self.length


def nearest(flat: Flat, fixes: list[Fix]) -> list[float]:
    found = []
    for fix in fixes:
        gap, along = flat.near(fix)
        found.append(float(along[gap.argmin()]))
    return found


def windowed(flat: Flat, fixes: list[Fix], gun: int) -> list[float]:
    """Return the nearest point from 100 m behind the last to the farthest possible."""
    found, last, at = [], 0.0, gun
    for fix in fixes:
        gap, along = flat.near(fix)
        reach = last + 100 + TOP_SPEED * max((fix.t - at) / 1000, 0)
        gap = np.where((along >= last - 100) & (along <= reach), gap, np.inf)
        last, at = float(along[gap.argmin()]), max(fix.t, gun)
        found.append(last)
    return found


def hidden_markov(flat: Flat, fixes: list[Fix], gun: int, sigma: float) -> list[float]:
    """Return the likeliest place of each fix by the forward algorithm.

    Candidates are the local minima within 100 m. Emission and transition are those of
    Newson and Krumm (2009), with the distance along the course compared with an even
    pace.
    """
    places, costs, at = np.array([0.0]), np.array([0.0]), gun
    pace, found = 3.0, []
    for fix in fixes:
        if fix.t < gun:
            found.append(0.0)
            continue
        gap, along = flat.near(fix)
        seconds = max((fix.t - at) / 1000, 1.0)
        around = np.pad(gap, 1, constant_values=np.inf)
        best = (gap <= around[:-2]) & (gap <= around[2:]) & (gap < 100)
        if best.any():
            moved = along[best][None, :] - places[:, None]
            spread = 10 + 0.3 * pace * seconds
            cost = costs[:, None] + np.minimum(abs(moved - pace * seconds) / spread, 20)
            cost = cost.min(0) + 0.5 * (gap[best] / max(sigma, 5.0)) ** 2
            keep = cost < cost.min() + 30
            places, costs = along[best][keep], cost[keep] - cost.min()
            at = fix.t
        found.append(float(places[costs.argmin()]))
    return found
