"""What is known of a runner whose fixes do not match the course."""

from __future__ import annotations

from runners.races.progress.state import Hypothesis
from runners.races.splits import Node

# If no fix matches the course for this time, the runner may be anywhere.
ANYWHERE_AFTER_S = 200.0


def lost_for(usual: float, t: int, certain: Node) -> float:
    """Return the standard deviation of a runner lost since `certain`, in metres."""
    return round(50.0 + 0.5 * usual * max(t - certain.t, 0.0) / 1000, 1)


def lost_at(t: int, certain: Node, usual: float, cost: float) -> Hypothesis:
    """Return the hypothesis that the runner may be anywhere near the last certain
    place.
    """
    spread = lost_for(usual, t, certain)
    return Hypothesis(
        certain.distance,
        round(usual / 2, 3),
        round(spread * spread, 1),
        0.0,
        round(usual * usual / 4, 3),
        cost,
        t,
        certain.distance,
        ANYWHERE_AFTER_S,
    )
