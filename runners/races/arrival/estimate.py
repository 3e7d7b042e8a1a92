"""Estimate where a runner is between two timing mats, as a few nodes in time.

The nodes are computed once, when a mat has seen the runner. Clients interpolate between
them, so that a moving runner costs the server nothing.

Pure functions without a database or a clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from runners.races.arrival.pacing import Prior
from runners.races.arrival.ranges import Passed, Range, ranges_ahead
from runners.races.arrival.slopes import Slopes

# One node per this distance, besides those at which an end of the range reaches the
# mat: on a hilly course the pace differs by so much that fewer would be seen.
NODE_EVERY_M = 5_000.0


class Node(NamedTuple):
    """Where a runner is, a number of seconds after the last mat.

    The middle and the ends of the range that holds 80 % of runners, in metres.
    """

    seconds: int
    progress: int
    nearest: int
    farthest: int


def estimated_nodes(
    runners: Sequence[tuple[Sequence[Passed], float]], slopes: Slopes, prior: Prior
) -> list[list[Node]]:
    """Return where each runner is from the last sample until the next mat.

    `runners`: samples as for `arrivals`, and the distance of the mat. The last node is
    there: nobody is estimated past a mat that has not seen them.
    """
    marks = [_marks(samples[-1].distance, until) for samples, until in runners]
    asked = [
        (own[1:], samples) for own, (samples, _) in zip(marks, runners, strict=True)
    ]
    found = ranges_ahead(asked, slopes, prior)
    return [
        _nodes(own, samples[-1].time, list(ranges.values()))
        for own, (samples, _), ranges in zip(marks, runners, found, strict=True)
    ]


def _marks(here: float, until: float) -> list[float]:
    steps = max(1, math.ceil((until - here) / NODE_EVERY_M))
    return [here + (until - here) * n / steps for n in range(steps)] + [until]


def _nodes(marks: Sequence[float], since: float, ranges: Sequence[Range]) -> list[Node]:
    # The times at which the far end, the middle and the near end reach each mark.
    times = np.array([(since,) * 3, *ranges])
    times = np.maximum.accumulate(times - since, axis=0)
    # Rounded up, so that the far end, the middle and the near end are all at the mat in
    # the last node.
    moments = np.unique(np.ceil([*times[:-1, 1], *times[-1]]))
    far, middle, near = (np.interp(moments, own, marks) for own in times.T)
    rows = np.round([moments, middle, near, far]).astype(int)
    return [Node(*row) for row in rows.T.tolist()]
