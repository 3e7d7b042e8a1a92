"""Detects the finish of runners who stop at the line instead of running past it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runners.races.progress.mixture import pruned
from runners.races.progress.observation import Observation
from runners.races.progress.start import SHORT_LAP_M
from runners.races.progress.state import Hypothesis, Stands, State
from runners.races.splits import Node, Passing

# A runner who stands within FINISH_REACH_M of the finish, where fixes are at most
# STANDS_M apart, has finished after STANDS_S. Farther from it than NEAR_FINISH_M this
# takes RESTS_S, unless the phone sends slowly. Then its errors add to both distances,
# and runners due at the finish RESTS_S ago, at their own pace, have stood there since.
FINISH_REACH_M = 45.0
NEAR_FINISH_M = 10.0
STANDS_M = 15.0
STANDS_S = 9.0
RESTS_S = 110.0
SLOW_INTERVAL_S = 25.0
# Slower runners count as standing.
STANDING_MPS = 1.0
# A slow phone that is where it was at the last fix makes each run less likely by this
# cost: runs end at any place. Those who have finished stand at the finish.
STANDS_COST = 6.0


def note_standing(
    state: State, t: int, best: Hypothesis, certain: Node, usual: float, finish: float
) -> None:
    """Record since when a runner stands near the finish and when they crossed it."""
    stands, distance = state.stands, best.distance
    slow = _is_slow(t, certain)
    error = 2 * math.sqrt(best.variance) if slow else 0.0
    # Between two fixes of a slow phone, a runner would have gone farther.
    still = FINISH_REACH_M if slow else STANDS_M
    if distance < finish - FINISH_REACH_M - error:
        state.stands = None
    elif stands is None or abs(distance - stands.distance) > still + error:
        due = certain.t + 1000 * max(finish - certain.distance, 0.0) / usual
        doubt = max((t - certain.t) / 1000, FINISH_REACH_M / usual)
        # The later places of those who stand here are the phone's errors.
        earliest = stands.earliest if stands else max(due - (t - certain.t), certain.t)
        crossed = min(due, t)
        since = t
        if state.stays and _laps_are_short(state.hypotheses, finish):
            since = min(state.stays.t, t)
        if slow and not state.unsure and t - crossed >= RESTS_S * 1000:
            since = min(since, round(crossed))
        state.stands = Stands(
            since, distance, round(crossed), round(doubt, 1), round(earliest)
        )


def prefer_finish(
    hypotheses: list[Hypothesis], now: Observation, state: State, finish: float
) -> list[Hypothesis]:
    """Return the hypotheses, those at the finish likelier if the runner stands there.

    Only on short laps, if the lap was not sure before: others may rest after a lap.
    """
    stays = state.stays
    if (
        stays is None
        or not 0 < state.unsure < stays.t
        or now.t - stays.t < SLOW_INTERVAL_S * 1000
        or not _laps_are_short(hypotheses, finish)
    ):
        return hypotheses
    near = finish - FINISH_REACH_M - 2 * now.sigma
    likelier = [
        hypothesis._replace(cost=hypothesis.cost - STANDS_COST)
        if hypothesis.distance >= near and not hypothesis.misfits
        else hypothesis
        for hypothesis in hypotheses
    ]
    return pruned(likelier)


def _laps_are_short(hypotheses: Sequence[Hypothesis], finish: float) -> bool:
    """Return whether the runner may have ended an earlier lap nearby."""
    return any(
        finish - SHORT_LAP_M <= hypothesis.distance < finish - 2 * FINISH_REACH_M
        for hypothesis in hypotheses
        if not hypothesis.misfits
    )


def has_stood(
    stands: Stands, now: Observation, best: Hypothesis, certain: Node, finish: float
) -> bool:
    """Return whether a runner has stood long enough. Farther off they may only rest."""
    near = (
        best.speed <= STANDING_MPS
        and finish - best.distance <= NEAR_FINISH_M + math.sqrt(best.variance)
    )
    at_once = near or _is_slow(now.t, certain)
    return now.t - stands.since >= (STANDS_S if at_once else RESTS_S) * 1000


def widened(passing: Passing, stands: Stands) -> Passing:
    """Return a finish with an uncertainty that reaches back to the earliest crossing.

    A phone whose errors kept it short of the line, or that was silent until it was
    near, has moved over the line long after the runner.
    """
    late = (passing.at - stands.earliest) / 1000
    return passing._replace(uncertainty=max(passing.uncertainty, round(late, 1)))


def _is_slow(t: int, certain: Node) -> bool:
    return t - certain.t >= SLOW_INTERVAL_S * 1000
