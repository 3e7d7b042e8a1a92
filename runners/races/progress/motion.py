"""How runners move: where one should be after some seconds, and how sure that is.

A runner's pace returns to their own average (an Ornstein-Uhlenbeck process), and they
stop and go besides. The position and the pace are filtered together by the Kalman
filter of this process.
"""

from __future__ import annotations

import math
from typing import NamedTuple

# The pace of a runner of whom nothing is known, m/s, and for how many seconds of their
# own running it counts.
USUAL_PACE, USUAL_WEIGHT_S = 2.8, 150.0
# How far a pace is from the runner's average, as a share of it, and for how long. The
# second part is the same in m/s.
PACE_SPREAD, PACE_SPREAD_MPS, PACE_MEMORY_S = 0.18, 0.15, 240.0
# Stop and go: m/s, for seconds.
WANDER_MPS, WANDER_MEMORY_S = 1.0, 10.0
# Who rests falls behind by about so much of what they would have run; what it costs.
REST_SHARE, REST = 0.5, 6.0
# The top speed of runners, m/s, and how much slower than the top speed they are for
# a minute.
RUNNERS_TOP_SPEED, SPRINT_MPS = 12.5, 6.2
# Over ten minutes nobody is faster than their own pace and so much more, m/s.
FASTER_MPS = 1.2
# The time of passing a place is uncertain by so many standard deviations of where the
# runner is.
DOUBT = 2.5


class Motion(NamedTuple):
    """Metres along the course and m/s, with their covariance."""

    distance: float
    speed: float
    variance: float
    covariance: float
    speed_variance: float


def usual_pace(top_speed: float) -> float:
    """Return the pace, m/s, of somebody of whom only the race is known."""
    return USUAL_PACE * top_speed / RUNNERS_TOP_SPEED


def moved(motion: Motion, seconds: float, usual: float) -> Motion:
    """Return where a runner of a usual pace is after some seconds."""
    distance, speed, variance, covariance, speed_variance = motion
    spread = PACE_SPREAD * usual + PACE_SPREAD_MPS
    spread *= spread
    kept = math.exp(-seconds / PACE_MEMORY_S)
    lasting = PACE_MEMORY_S * (1 - kept)
    return Motion(
        distance + usual * seconds + (speed - usual) * lasting,
        usual + (speed - usual) * kept,
        variance
        + 2 * lasting * covariance
        + lasting * lasting * speed_variance
        + spread
        * PACE_MEMORY_S
        * (2 * seconds - PACE_MEMORY_S * (3 - 4 * kept + kept * kept))
        + wander(seconds),
        kept * (covariance + lasting * speed_variance)
        + spread * PACE_MEMORY_S * (1 - kept) ** 2,
        kept * kept * speed_variance + spread * (1 - kept * kept),
    )


def wander(seconds: float) -> float:
    """Return the variance of a distance by stop and go."""
    memory = WANDER_MEMORY_S
    lasting = seconds - memory * (1 - math.exp(-seconds / memory))
    return 2 * WANDER_MPS**2 * memory * lasting + 0.01


def fastest_of(top_speed: float) -> float:
    """Return how fast, m/s, somebody is for a minute at most."""
    return max(top_speed - SPRINT_MPS, top_speed / 2)


def fastest(usual: float, seconds: float, top_speed: float) -> float:
    """Return how fast, m/s, a runner can have been for so many seconds."""
    most = fastest_of(top_speed)
    own = min(usual + FASTER_MPS, most)
    # Short stretches are run faster: from one to ten minutes it is less and less.
    part = min(max((seconds - 60) / 540, 0.0), 1.0)
    return most + part * (own - most)


def surprise(ahead: float, variance: float, seconds: float, usual: float) -> float:
    """Return the cost of being metres ahead of where a runner should be (or behind).

    The tails are heavy: people climb, descend and rest.
    """
    cost = 8 * math.log1p(ahead * ahead / variance / 8)
    if ahead < 0 and seconds > 20:
        rested = variance + (REST_SHARE * usual * seconds) ** 2
        cost = min(cost, REST + 8 * math.log1p(ahead * ahead / rested / 8))
    return cost
