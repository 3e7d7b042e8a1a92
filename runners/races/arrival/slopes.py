"""The cost of a course's slopes, as metres of flat ground.

Slopes cost the energy measured by Minetti et al., "Energy cost of walking and running
at extreme uphill and downhill slopes", Journal of Applied Physiology 93 (2002). Runners
gain only a quarter of what downhill slopes would save, because they brake, because of
bad ground and out of caution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from runners.races.course import Course

Floats = npt.NDArray[np.float64]

# Heights of phones and maps are noisy, so they are smoothed over several steps.
HEIGHT_STEP_M = 50.0
SMOOTHED_STEPS = 5
# The steepest slope measured by Minetti et al.
STEEPEST_MEASURED = 0.45


class Slopes:
    """The extra length of a course due to its slopes, computed once per course."""

    def __init__(self, course: Course) -> None:
        self._build(course.length, course.known_heights)

    @classmethod
    @lru_cache(maxsize=8)
    def flat(cls, length: float) -> Slopes:
        """Return the slopes of a flat course of a length in metres."""
        slopes = cls.__new__(cls)
        slopes._build(length, [])
        return slopes

    def _build(self, length: float, known: Sequence[tuple[float, float]]) -> None:
        self.length = length
        count = max(2, math.ceil(self.length / HEIGHT_STEP_M) + 1)
        self._marks: Floats = np.linspace(0, self.length, count)
        self._extra: Floats = np.zeros(count)
        if len(known) < 2:
            return
        heights = np.interp(self._marks, *np.array(known).T)
        padded = np.pad(heights, SMOOTHED_STEPS // 2, mode="edge")
        smooth = np.convolve(padded, np.ones(SMOOTHED_STEPS) / SMOOTHED_STEPS, "valid")
        steps = np.diff(self._marks)
        more = slope_cost(np.diff(smooth) / steps)
        self._extra[1:] = np.cumsum(more * steps)

    def extra(self, distances: Floats) -> Floats:
        """Return the extra metres of flat ground up to each distance."""
        return np.interp(distances, self._marks, self._extra)

    def effort(self, distances: Floats, shown: float | Floats) -> Floats:
        """Return the metres of flat ground that take as long as each distance.

        `shown` is the share of the slopes' cost that the runner's pace shows.
        """
        return np.asarray(distances + shown * self.extra(distances))


def slope_cost(slope: Floats) -> Floats:
    """Return the extra cost of a slope (metres per metre) relative to flat ground."""
    i = np.clip(slope, -STEEPEST_MEASURED, STEEPEST_MEASURED)
    joules = 155.4 * i**5 - 30.4 * i**4 - 43.3 * i**3 + 46.3 * i**2 + 19.5 * i + 3.6
    more = joules / 3.6 - 1
    return np.where(more < 0, more / 4, more)
