"""A model of the motion of runners: the expected position and its covariance.

A runner's pace returns to their own average (an Ornstein-Uhlenbeck process), and they
also stop and go. A Kalman filter of this process estimates position and pace together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

# The pace of an unknown runner, its standard deviation among runners, and the time of
# their own running that weighs as much.
USUAL_PACE_MPS = 2.8
USUAL_SPREAD_MPS = 0.7
USUAL_WEIGHT_S = 150.0
# The standard deviation of a pace from the runner's average: a share of the average and
# a constant, which persist for PACE_MEMORY_S.
PACE_SPREAD = 0.18
PACE_SPREAD_MPS = 0.15
PACE_MEMORY_S = 240.0
# The standard deviation of the pace by stopping and going.
WANDER_MPS = 1.0
WANDER_MEMORY_S = 10.0
# A runner who rests falls behind by about this share of the usual distance.
REST_SHARE = 0.5
REST_COST = 6.0
# Over ten minutes nobody is faster than all of these: their own average by this share,
# their average and its uncertainty, and an unknown runner by a share (3.8 m/s).
FASTEST_SHARE = 1.25
FASTEST_SIGMAS = 3.0
FASTEST_UNKNOWN_SHARE = 1.35
# Over less than LONG_S speeds do not show that a runner was driven.
LONG_S = 240.0
FAST_SLACK_M = 50.0
# Runners go back along the course by about this distance.
BACK_M = 100.0
RUNNERS_TOP_SPEED_MPS = 12.5
# The average over a minute is this much below the top speed.
SPRINT_MPS = 6.2
# The average over ten minutes is at most this much above the runner's own, or this many
# standard deviations of what is known of it.
FASTER_MPS = 1.2
FASTER_SIGMAS = 3.0
# The uncertainty of a split, in standard deviations of the runner's position.
DOUBT_SIGMAS = 2.5


# A Gaussian of the distance along the course (m) and the speed (m/s): distance, speed,
# variance of the distance, covariance, variance of the speed.
Motion = tuple[float, float, float, float, float]


class Pace(NamedTuple):
    """A runner's average pace and its standard deviation, in m/s."""

    usual: float
    spread: float


def average_pace(metres: float, seconds: float, top_speed: float) -> Pace:
    """Return the average pace over a distance (metres) and a time (seconds)."""
    seconds = max(seconds, 0.0) + USUAL_WEIGHT_S
    usual = (metres + usual_pace(top_speed) * USUAL_WEIGHT_S) / seconds
    spread = USUAL_SPREAD_MPS * math.sqrt(USUAL_WEIGHT_S / seconds)
    return Pace(min(max(usual, 0.5), top_speed), spread)


def usual_pace(top_speed: float) -> float:
    """Return the pace (m/s) of a runner of whom only the race is known."""
    return USUAL_PACE_MPS * top_speed / RUNNERS_TOP_SPEED_MPS


def moved(motion: Motion, seconds: float, pace: Pace) -> Motion:
    """Return the motion of a runner of an average pace after some seconds."""
    distance, speed, variance, covariance, speed_variance = motion
    usual, doubt = pace
    spread = PACE_SPREAD * usual + PACE_SPREAD_MPS
    spread *= spread
    kept = math.exp(-seconds / PACE_MEMORY_S)
    lasting = PACE_MEMORY_S * (1 - kept)
    return (
        distance + usual * seconds + (speed - usual) * lasting,
        usual + (speed - usual) * kept,
        variance
        + 2 * lasting * covariance
        + lasting * lasting * speed_variance
        + spread
        * PACE_MEMORY_S
        * (2 * seconds - PACE_MEMORY_S * (3 - 4 * kept + kept * kept))
        + (doubt * (seconds - lasting)) ** 2
        + stop_and_go(seconds),
        kept * (covariance + lasting * speed_variance)
        + spread * PACE_MEMORY_S * (1 - kept) ** 2,
        kept * kept * speed_variance + spread * (1 - kept * kept),
    )


def stop_and_go(seconds: float) -> float:
    """Return the variance of a distance (m²) that is due to stopping and going."""
    memory = WANDER_MEMORY_S
    lasting = seconds - memory * (1 - math.exp(-seconds / memory))
    return 2 * WANDER_MPS**2 * memory * lasting + 0.01


def top_speed_of_a_minute(top_speed: float) -> float:
    """Return the highest average speed over a minute, m/s."""
    return max(top_speed - SPRINT_MPS, top_speed / 2)


def top_average(
    pace: Pace, seconds: float, top_speed: float, share: float = 1.0
) -> float:
    """Return the highest average speed of a runner over some seconds, m/s.

    `share` is that of the excess over the runner's own average.
    """
    faster = max(FASTER_MPS, FASTER_SIGMAS * pace.spread)
    return _top_average(pace.usual + share * faster, seconds, top_speed)


def _top_average(own: float, seconds: float, top_speed: float) -> float:
    """Return the highest average speed over some seconds; `own` is that of ten minutes.

    From one to ten minutes the limit falls linearly.
    """
    most = top_speed_of_a_minute(top_speed)
    part = min(max((seconds - 60) / 540, 0.0), 1.0)
    return most + part * (min(own, most) - most)


def is_fast(metres: float, seconds: float, pace: Pace, top_speed: float) -> bool:
    """Return whether a run was too long for a runner of an average pace."""
    if seconds <= LONG_S:
        return False
    usual, spread = pace
    fastest = max(
        FASTEST_SHARE * usual,
        usual + FASTEST_SIGMAS * spread,
        FASTEST_UNKNOWN_SHARE * usual_pace(top_speed),
    )
    most = max(_top_average(fastest, seconds, top_speed), fastest)
    return metres > most * seconds + FAST_SLACK_M


def surprise(ahead: float, variance: float, seconds: float, usual: float) -> float:
    """Return the cost of a distance from the expected position, in metres ahead.

    The tails are heavy, because people climb, descend and rest.
    """
    if ahead > 0 and seconds > LONG_S:
        return ahead * ahead / variance
    cost = 8 * math.log1p(ahead * ahead / variance / 8)
    if ahead < 0 and seconds > 20:
        rested = variance + (REST_SHARE * usual * seconds) ** 2
        # A rest does not explain a way back.
        back = max(-ahead - usual * seconds, 0.0) / BACK_M
        resting = math.log1p(ahead * ahead / rested / 8) + math.log1p(back * back / 8)
        cost = min(cost, REST_COST + 8 * resting)
    return cost
