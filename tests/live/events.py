"""Domain events for tests that need no publisher."""

from __future__ import annotations

from runners.live.encoding.frames import Frames
from runners.live.events import PositionAccepted, RunnerEvent


def accepted(runner: int, t: int) -> PositionAccepted:
    """Return a runner's position; its longitude is its time."""
    return PositionAccepted(
        *(runner, str(runner), t, 48.0, t, None, None, None), wire_id=runner
    )


def position(runner: int, t: int) -> Frames[RunnerEvent]:
    """Return the frames of a runner's position; its longitude is its time."""
    return Frames(accepted(runner, t))
