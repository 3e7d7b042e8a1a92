"""A fix as an observation of a runner's place, with the errors that it may have."""

from __future__ import annotations

import math
from typing import NamedTuple

from runners.races.line import Line, Spot, spot_of
from runners.races.progress.state import (
    ACCURACY_SIGMAS,
    MIN_SIGMA_M,
    Fix,
    Here,
    State,
    metres_between,
    rounded,
    slack_of,
)

# A fix is off the course beyond this many times its accuracy, within these limits.
OFF_COURSE_ACCURACIES = 4.0
MIN_OFF_COURSE_M = 50.0
MAX_OFF_COURSE_M = 150.0
# The time over which a phone's errors are averaged.
NOISE_MEMORY_S = 90.0
# The averaged variance is at least the reported one divided by this, and at most the
# reported one times a factor, or the usual variance.
NOISE_MAX_DIVISOR = 2.0
NOISE_MAX_FACTOR = 4.0
NOISE_USUAL_M2 = 15.0**2
# A larger error, in squared standard deviations, may be the beginning of a detour. It
# counts as one of this size.
NOISE_SQUARE = 4.0
# The errors of a phone that sends more rarely than every SLOW_S are not averaged often
# enough to find out that it reports too small ones. They are at least SLOW_SIGMA_M.
SLOW_S = 60.0
SLOW_SIGMA_M = 8.0


class Observation(NamedTuple):
    """A fix on the plane of the course.

    `noise` is the variance and `sigma` the standard deviation of each axis, `slack` the
    largest plausible error, `limit` the distance from the course up to which the fix is
    still on it, and `moved` the distance from the fix before, in metres.
    """

    here: Here
    t: int
    speed: float | None
    spot: Spot
    noise: float
    sigma: float
    slack: float
    limit: float
    moved: float


def observe(line: Line, state: State, fix: Fix, here: Here) -> Observation:
    """Return the observation in a fix, with the noise of this runner's phone."""
    noise = _noise(state, here)
    sigma = math.sqrt(noise)
    last = state.shown
    moved = metres_between(last.lat, last.lng, here.lat, here.lng) if last else math.inf
    accuracy = ACCURACY_SIGMAS * sigma
    limit = max(OFF_COURSE_ACCURACIES * accuracy, MIN_OFF_COURSE_M)
    return Observation(
        here,
        here.t,
        fix.speed,
        spot_of(*line.place(here.lat, here.lng), speed=fix.speed, heading=fix.heading),
        noise,
        sigma,
        slack_of(accuracy),
        min(limit, MAX_OFF_COURSE_M),
        moved,
    )


def _noise(state: State, here: Here) -> float:
    """Return the variance of each axis, from the reported and the averaged errors."""
    reported = here.sigma**2
    if here.t - state.at > SLOW_S * 1000:
        reported = max(reported, SLOW_SIGMA_M**2)
    if state.noise is None:
        return reported
    most = max(reported * NOISE_MAX_FACTOR, NOISE_USUAL_M2)
    noise = min(max(state.noise, reported / NOISE_MAX_DIVISOR), most)
    return max(noise, MIN_SIGMA_M**2)


def average_noise(state: State, noise: float, beside: float, seconds: float) -> None:
    """Add a distance from the course to the averaged errors of the phone."""
    if state.noise is not None:
        part = min(seconds / NOISE_MEMORY_S, 0.2)
        square = min(beside * beside, NOISE_SQUARE * noise)
        noise = state.noise + part * (square - state.noise)
    state.noise = rounded(noise, 10)
