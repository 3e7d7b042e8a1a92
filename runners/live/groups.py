"""Names: of the channel-layer groups and of the events that travel in them."""

from __future__ import annotations

from typing import Any, TypedDict

# A fix newer than all before it: the marker moves.
POSITION = "runner.position"
# Fixes that arrived late: the trail is mended, the marker stays.
LATE = "runner.late"
# What happened to the runner (a split, a state, a cheer): never merged.
NOTE = "runner.note"
# A hub's sign of life to itself, by which it notices that the layer lost something.
BEAT = "hub.beat"
# A process could not send for a while: all hubs read what they missed.
GAP = "hub.gap"
# The group of all hubs.
HUBS = "hubs"


def runner_group(runner: int) -> str:
    """Name the group of a runner's followers."""
    return f"runner.{runner}"


class RunnerEvent(TypedDict):
    """What travels in a runner's group; read-only, the layer passes it by reference.

    `seed` and `v1` are the position encoded for each dialect by the process that
    accepted it: a ready frame, and a row for a `positions` frame (empty where a
    dialect has no use for it). Of `LATE` and `NOTE` events `v1` is a ready frame. A
    race in `state["only"]` (a primary key): for those who follow that race as a whole.
    """

    type: str
    runner: int
    t: int
    seed: bytes
    v1: bytes
    state: dict[str, Any]
