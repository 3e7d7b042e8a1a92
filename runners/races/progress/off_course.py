"""Tells runners who leave the course from errors of their phones.

The distance of a runner who leaves the course grows steadily. GPS errors come suddenly
or stay about the same.
"""

from __future__ import annotations

from runners.races.progress.observation import MAX_OFF_COURSE_M, Observation
from runners.races.progress.state import State, rounded
from runners.races.splits import Node

# A runner is off the course after FAR_S at more than FAR_M from it if the distance has
# grown by LEAVES_M, after STAYS_FAR_S if it has not, and after BESIDE_S below FAR_M.
FAR_M = 60.0
FAR_S = 6.0
LEAVES_M = 15.0
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
    if beside <= now.limit:
        state.away, state.away_since, state.far = 0, 0, None
        state.beside = rounded(beside, 10)
        return
    if not state.away:
        state.away_since = now.t
    sudden = beside - state.beside > run + now.sigma + SUDDEN_M
    if not state.away and sudden:
        state.far = Node(now.t, round(beside + SUDDEN_EXTRA_M, 1))
    elif beside <= max(FAR_M, now.limit):
        if state.far is not None and state.far.distance <= beside:
            state.far = None
    elif state.far is None:
        state.far = Node(now.t, round(beside, 1))
    state.away = min(state.away + 1, MAX_FIXES_BESIDE)
    if state.away > 1 and _has_left(state, now.t, beside):
        state.status = "off_course"


def _has_left(state: State, t: int, beside: float) -> bool:
    away_for = (t - state.away_since) / 1000
    far = state.far
    far_for = 0.0 if far is None else (t - far.t) / 1000
    leaves = far is not None and beside >= far.distance + LEAVES_M
    return (
        (leaves and far_for >= FAR_S)
        or (beside > MAX_OFF_COURSE_M and away_for >= FAR_S)
        or (beside > FAR_M and far_for >= STAYS_FAR_S)
        or away_for >= BESIDE_S
    )
