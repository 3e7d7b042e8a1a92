"""Tells runners who leave the course from errors of their phones.

The evidence that a runner has left is the logarithm of a ratio of likelihoods. Large
errors that last long are improbable; a runner who has left the course may be anywhere
within the distance that they have run since. The ratio is compared with a threshold at
each fix (a sequential test: Wald, "Sequential Tests of Statistical Hypotheses", 1945).
"""

from __future__ import annotations

import math

from runners.races.progress.observation import (
    MAX_OFF_COURSE_M,
    MIN_OFF_COURSE_M,
    Observation,
)
from runners.races.progress.state import State, rounded
from runners.races.splits import Node

# GPS errors come in spells. Across the course they have this standard deviation besides
# the phone's usual errors, and this mean duration. Fixes within SPELL_M are on the
# course.
SPELL_M = 25.0
SPELL_S = 100.0
# A sudden jump is an error up to this size. A runner beyond it may have left.
MAX_JUMP_M = 50.0
# An alarm is confirmed by the fix before, if that is at most this old.
CONFIRMS_S = 10.0
# With more evidence than this, the runner has left the course.
ENOUGH_EVIDENCE = 3.0


def note_beside(state: State, now: Observation, beside: float, usual: float) -> None:
    """Record a fix at a distance from the course, and whether the runner has left it.

    `beside` is that distance in metres and `usual` the runner's pace in m/s.
    """
    if beside <= SPELL_M:
        state.far, state.beside = None, rounded(beside, 10)
        return
    # Infinity, where the course is nowhere near, would become null as JSON.
    beside = min(beside, MAX_OFF_COURSE_M)
    if state.far is None:
        run = usual * (now.t - state.at) / 1000
        jump = min(max(beside - state.beside - run, 0.0), MAX_JUMP_M)
        state.far = Node(state.at, rounded(jump, 10))
        state.beside = rounded(beside, 10)
        return
    # Where the line is drawn beside the course, a single outlier shows nothing. Who has
    # just left it with a slow phone need not be seen again.
    rare = now.t - state.at > CONFIRMS_S * 1000
    soon = rare and now.t - state.far.t <= SPELL_S * 1000
    confirmed = soon or state.beside >= MIN_OFF_COURSE_M
    state.beside = rounded(beside, 10)
    evidence = _evidence(state.far, now, beside, usual)
    if beside >= now.limit and confirmed and evidence > ENOUGH_EVIDENCE:
        state.status = "off_course"


def _evidence(far: Node, now: Observation, beside: float, usual: float) -> float:
    """Return how much likelier it is that the runner has left than that the errors are
    large, as a logarithm.
    """
    seconds = (now.t - far.t) / 1000
    away = max(beside - far.distance, 0.0)
    size = away * away / 2 / (SPELL_M * SPELL_M + now.noise)
    return size + seconds / SPELL_S - math.log1p(usual * seconds / SPELL_M)
