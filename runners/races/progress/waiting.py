"""Compares a runner who waits for their start with one who runs.

Both explain a fix near the start, where each lap of a course ends. Over several fixes
the ratio of their likelihoods decides (a sequential probability ratio test: Wald,
"Sequential Tests of Statistical Hypotheses", 1945).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from runners.races.line import Line, Place
from runners.races.progress.mixture import born, pruned
from runners.races.progress.motion import Pace, moved, surprise
from runners.races.progress.observation import SLOW_SIGMA_M, Observation
from runners.races.progress.state import (
    ACCURACY_SIGMAS,
    Here,
    Hypothesis,
    metres_between,
    rounded,
)

# Runners wait around the start with this standard deviation of each axis, if they are
# not where they waited before.
AROUND_START_M = 30.0
MOVED_SHARE = 0.03
# The least standard deviation of a place that is averaged from many fixes.
MIN_PLACE_M = 5.0
# Of the fixes, a share is in a spell of noise with a standard deviation of SPELL_M,
# which lasts for about SPELL_S. Another share is anywhere on the lap.
SPELL_SHARE = 0.1
SPELL_M = 35.0
SPELL_S = 60.0
OUTLIER_SHARE = 0.002
# Fixes within this many standard deviations of the waiting place are averaged.
NEAR_SIGMAS = 3.0
# At the gun most runners leave within about SOON_S. Of the others, half have left
# after LATE_S.
SOON_S = 20.0
LATE_SHARE = 0.05
LATE_S = 900.0
# The standard deviation of a time that is anywhere within an interval, as its share.
EVENLY = 0.29
# The standard deviation of the usual pace among runners, as its share.
PACE_SHARE = 0.3


class Leaves(NamedTuple):
    """The share of runners who have left, and the mean and deviation of their time."""

    share: float
    seconds: float
    doubt: float


class Waiting:
    """Likelihoods of waiting for the start and of running. Read-only.

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
        noise = max(here.sigma, SLOW_SIGMA_M) ** 2 + SPELL_SHARE * SPELL_M**2
        variance = (place or self._around).sigma ** 2
        gain = variance / (variance + noise)
        lat, lng = _between(lat, lng, here, gain)
        sigma = max(math.sqrt((1 - gain) * variance), MIN_PLACE_M)
        return Here(here.t, lat, lng, rounded(ACCURACY_SIGMAS * sigma, 10))

    def waits(
        self, place: Here | None, last: Here | None, now: Observation, seconds: float
    ) -> tuple[float, bool]:
        """Return the likelihood of waiting, and whether a fix is near its place.

        The error of the `last` fix, some seconds ago, has not quite gone.
        """
        place = place or self._around
        here, noise = now.here, now.noise
        variance = noise + place.sigma**2
        square = _square(place, here)
        kept, share, error = 0.0, SPELL_SHARE, square
        if last is not None:
            kept = math.exp(-seconds / SPELL_S)
            was = _square(place, last)
            spell = SPELL_SHARE * _density(was, variance + SPELL_M**2)
            fair = (1 - SPELL_SHARE) * _density(was, variance)
            share += kept * (spell / (spell + fair + 1e-300) - SPELL_SHARE)
            lat, lng = _between(place.lat, place.lng, last, kept)
            error = metres_between(lat, lng, here.lat, here.lng) ** 2
        spread = variance + SPELL_M**2 * (1 - kept * kept)
        density = share * _density(error, spread)
        density += (1 - share) * _density(square, variance)
        around = self._around
        moved = _density(_square(around, here), noise + around.sigma**2)
        density += MOVED_SHARE * (moved - density)
        return density + self._outlier(noise), square < NEAR_SIGMAS**2 * variance

    def places(self, now: Observation, high: float) -> list[Place]:
        """Return the places up to some metres where a runner may be."""
        within = 4 * now.sigma + 2 * SPELL_M
        return self._line.near(now.spot, now.noise, within, self._start, high)

    def runs(
        self,
        hypotheses: Sequence[Hypothesis],
        places: Sequence[Place],
        now: Observation,
        seconds: float,
        pace: Pace,
    ) -> float:
        """Return the likelihood of running on from the hypotheses of the last fix."""
        total = density = 0.0
        besides = [(p.distance, _beside(p, now.noise)) for p in places]
        for hypothesis in hypotheses:
            weight = math.exp(-hypothesis.cost / 2)
            total += weight
            distance, _, variance, _, _ = moved(hypothesis[:5], seconds, pace)
            variance += now.noise
            weight /= math.sqrt(2 * math.pi * variance)
            for at, beside in besides:
                cost = surprise(at - distance, variance, seconds, pace.usual)
                density += weight * beside * math.exp(-cost / 2)
        return density / total + self._outlier(now.noise)

    def starts(
        self,
        places: Sequence[Place],
        now: Observation,
        leaves: Sequence[Leaves],
        usual: float,
        reach: float,
    ) -> tuple[float, list[Hypothesis]]:
        """Return the likelihood of having left since the last fix, and hypotheses.

        `usual` is the usual pace. They have run `reach` metres at most.
        """
        total = self._outlier(now.noise) * sum(share for share, _, _ in leaves)
        found = []
        for place in places:
            ran = place.distance - self._start
            if ran > reach or place.beside > now.limit:
                continue
            density = 0.0
            for share, seconds, doubt in leaves:
                mean = usual * seconds
                spread = math.hypot(PACE_SHARE * mean, usual * doubt, AROUND_START_M)
                off = (ran - mean) / spread
                density += share / (1 + off * off / 8) ** 4 / (2.7 * spread)
            density *= _beside(place, now.noise)
            total += density
            cost = -2 * math.log(density + 1e-300)
            found.append(born(place, now.t, cost, now.noise, usual))
        return total, pruned(found)

    def _outlier(self, noise: float) -> float:
        return OUTLIER_SHARE / math.sqrt(2 * math.pi * noise) / self._lap


def left(since: float, until: float) -> list[Leaves]:
    """Return who of those who waited has left between two times (s after the gun)."""
    seconds = until - since
    gone = math.exp(-seconds / SOON_S)
    soon = (1 - LATE_SHARE) * math.exp(-since / SOON_S)
    late = LATE_SHARE / (1 + since / LATE_S)
    late_gone = late - LATE_SHARE / (1 + until / LATE_S)
    waited = SOON_S - seconds * gone / (1 - gone)
    doubt = EVENLY * seconds
    return [
        Leaves(soon * (1 - gone) / (soon + late), seconds - waited, min(SOON_S, doubt)),
        Leaves(late_gone / (soon + late), seconds / 2, doubt),
    ]


def _between(lat: float, lng: float, here: Here, part: float) -> tuple[float, float]:
    east = here.lng - lng
    # Not across the antimeridian.
    east = 0.0 if abs(east) > 180 else east
    return lat + part * (here.lat - lat), lng + part * east


def _square(place: Here, here: Here) -> float:
    return metres_between(place.lat, place.lng, here.lat, here.lng) ** 2


def _density(square: float, variance: float) -> float:
    return math.exp(-square / 2 / variance) / (2 * math.pi * variance)


def _beside(place: Place, noise: float) -> float:
    """Return the density of a distance from the line, with spells of noise."""
    square, spell = place.beside**2, noise + SPELL_M**2
    return sum(
        share * math.exp(-square / 2 / each) / math.sqrt(2 * math.pi * each)
        for share, each in ((1 - SPELL_SHARE, noise), (SPELL_SHARE, spell))
    )
