"""Compares a runner who waits at the start of laps with one who runs the laps.

Both explain a fix near the start, because each lap ends there. Over several fixes the
ratio of their likelihoods decides (a sequential probability ratio test: Wald,
"Sequential Tests of Statistical Hypotheses", 1945).
"""

from __future__ import annotations

import math

from runners.races.line import Line
from runners.races.progress.observation import SLOW_SIGMA_M, Observation
from runners.races.progress.state import ACCURACY_SIGMAS, Here, metres_between, rounded

# Runners wait around the start with this standard deviation of each axis.
AROUND_START_M = 30.0
# The probability that at the gun they have moved there from where they waited.
MOVED_SHARE = 0.3
# The least standard deviation of a place that is averaged from many fixes.
MIN_PLACE_M = 5.0
# Of the fixes, a share is in a spell of noise with a standard deviation of SPELL_M, and
# another share is anywhere on the lap.
SPELL_SHARE = 0.1
SPELL_M = 35.0
OUTLIER_SHARE = 0.002
# Fixes within this many standard deviations of the waiting place are averaged.
NEAR_SIGMAS = 3.0


class Waiting:
    """Likelihoods of waiting at the start of laps and of running them. Read-only.

    The accuracy of a waiting place is that of the average of its fixes.
    """

    def __init__(
        self, line: Line, start: float, place: tuple[float, float], lap: float
    ) -> None:
        self._line, self._start, self._lap = line, start, lap
        self._around = Here(0, *place, AROUND_START_M * ACCURACY_SIGMAS)

    def averaged(self, place: Here | None, here: Here) -> Here:
        """Return the waiting place after one more fix there."""
        lat, lng = (place or self._around)[1:3]
        noise = max(here.sigma, SLOW_SIGMA_M) ** 2
        variance = (place or self._around).sigma ** 2
        gain = variance / (variance + noise)
        east = here.lng - lng
        # Not across the antimeridian.
        east = 0.0 if abs(east) > 180 else east
        sigma = max(math.sqrt((1 - gain) * variance), MIN_PLACE_M)
        accuracy = rounded(ACCURACY_SIGMAS * sigma, 10)
        lat, lng = lat + gain * (here.lat - lat), lng + gain * east
        return Here(here.t, lat, lng, accuracy)

    def ratio(
        self, place: Here | None, now: Observation, reach: float, at_gun: bool
    ) -> tuple[float, bool]:
        """Return the logarithm of the ratio of the likelihoods of waiting and running,
        and whether the fix is near the waiting place.

        A runner can have run up to `reach` metres. The place on the lap is unknown.
        """
        place = place or self._around
        here, noise = now.here, now.noise
        square = metres_between(place.lat, place.lng, here.lat, here.lng) ** 2
        variance = noise + place.sigma**2
        waits = _density(square, variance, 2)
        if at_gun:
            around = self._around
            gap = metres_between(around.lat, around.lng, here.lat, here.lng)
            moved = _density(gap * gap, noise + around.sigma**2, 2)
            waits += MOVED_SHARE * (moved - waits)
        # The course may go on elsewhere after a lap.
        high = self._start + reach
        places = self._line.near(now.spot, noise, 1e9, self._start, high)
        beside = min((place.beside for place in places), default=math.inf)
        runs = _density(beside * beside, noise, 1) / self._lap
        outlier = OUTLIER_SHARE * _density(0.0, noise, 1) / self._lap
        near = square < NEAR_SIGMAS**2 * variance
        return math.log((waits + outlier) / (runs + outlier)), near


def _density(square: float, variance: float, axes: int) -> float:
    """Return the density at a squared distance from the mean, with spells of noise."""
    spell = variance + SPELL_M**2
    return sum(
        share * math.exp(-square / 2 / each) / math.sqrt(2 * math.pi * each) ** axes
        for share, each in ((1 - SPELL_SHARE, variance), (SPELL_SHARE, spell))
    )
