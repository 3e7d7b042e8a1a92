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

from runners.races.arrival.eta import Passed, Slopes, ranges_ahead
from runners.races.arrival.pacing import Prior

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
    samples: Sequence[Passed], slopes: Slopes, *, until: float, prior: Prior
) -> list[Node]:
    """Return where a runner is from the last sample until the mat at `until`.

    `samples` as for `arrivals`. The last node is at the mat: nobody is estimated past a
    mat that has not seen them.
    """
    here = samples[-1]
    steps = max(2, math.ceil((until - here.distance) / NODE_EVERY_M) + 1)
    marks = np.linspace(here.distance, until, steps)
    ahead = marks[1:].tolist()
    found = ranges_ahead(ahead, samples, slopes, prior)
    # The times at which the far end, the middle and the near end reach each mark.
    times = np.array([(here.time,) * 3, *(found[distance] for distance in ahead)])
    times = np.maximum.accumulate(times - here.time, axis=0)
    moments = np.unique(np.round([*times[:-1, 1], *times[-1]]))
    far, middle, near = (np.interp(moments, own, marks) for own in times.T)
    rows = np.round([moments, middle, near, far]).astype(int)
    return [Node(*row) for row in rows.T.tolist()]
