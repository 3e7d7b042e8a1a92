"""Tells runners who leave the course from errors of their phones.

The distance of a runner who leaves the course grows steadily. GPS errors come suddenly
or stay about the same.
"""

from __future__ import annotations

from runners.races.progress.observation import (
    MAX_OFF_COURSE_M,
    MIN_OFF_COURSE_M,
    Observation,
)
from runners.races.progress.state import State, rounded
from runners.races.splits import Node

# From this share of the limit on, a distance may be that of a runner who leaves.
BESIDE_SHARE = 0.75
# Runners beside the course are off it after LEAVES_S if their distance has grown by
# LEAVES_M, after STAYS_FAR_S at more than FAR_M, and after BESIDE_S below.
LEAVES_S = 6.0
LEAVES_M = 15.0
FAR_M = 60.0
STAYS_FAR_S = 120.0
BESIDE_S = 240.0
# The distance of a runner who leaves the course grows gradually. A jump by SUDDEN_M is
# probably an error, so the distance then has to grow by SUDDEN_EXTRA_M more.
SUDDEN_M = 20.0
SUDDEN_EXTRA_M = 40.0
# Fixes beside the course are counted up to this number.
MAX_FIXES_BESIDE = 3


def note_beside(state: State, now: Observation, beside: float, run: float) -> None:
    """Record a fix at a distance from the course, and whether the runner has left it.

    `beside` is that distance and `run` the farthest run since the last fix, in metres.
    """
    if beside <= max(BESIDE_SHARE * now.limit, MIN_OFF_COURSE_M):
        state.away, state.far = 0, None
        state.beside = rounded(beside, 10)
        return
    if state.far is None:
        sudden = beside - state.beside > run + now.sigma + SUDDEN_M
        extra = SUDDEN_EXTRA_M if sudden else 0.0
        # Infinity, where the course is nowhere near, would become null as JSON.
        state.far = Node(now.t, round(min(beside, MAX_OFF_COURSE_M) + extra, 1))
    state.away = min(state.away + 1, MAX_FIXES_BESIDE)
    if state.away > 1 and beside > now.limit and _has_left(now.t, beside, state.far):
        state.status = "off_course"


def _has_left(t: int, beside: float, far: Node) -> bool:
    seconds = (t - far.t) / 1000
    return (
        (beside >= far.distance + LEAVES_M and seconds >= LEAVES_S)
        or (beside > MAX_OFF_COURSE_M and seconds >= LEAVES_S)
        or (beside > FAR_M and seconds >= STAYS_FAR_S)
        or seconds >= BESIDE_S
    )
