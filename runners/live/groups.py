"""The names of channel-layer groups and of the events that they carry."""

from __future__ import annotations

from typing import Any, TypedDict

# A fix newer than all before it, which moves the marker.
POSITION = "runner.position"
# Late fixes, which complete the trail and do not move the marker.
LATE_FIXES = "runner.late"
# Something happened to the runner (a split, a state, a cheer). Never merged.
RUNNER_EVENT = "runner.note"
# A hub sends probes to itself to detect that the layer lost events.
PROBE = "hub.probe"
# A process could not send for some time, so all hubs backfill from the database.
EVENTS_LOST = "hub.events_lost"
# The group of all hubs.
HUBS = "hubs"


def runner_group(runner: int) -> str:
    """Return the name of the group of a runner's subscribers."""
    return f"runner.{runner}"


class RunnerEvent(TypedDict):
    """An event of a runner's group; read-only, as the layer passes it by reference.

    `runner` is a primary key, `t` the time of the fix in milliseconds. `seed` and `v1`
    hold the position as the accepting process encoded it for each dialect: a complete
    frame, and a row of a `positions` frame (empty if the dialect does not send it). In
    `LATE_FIXES` and `RUNNER_EVENT` events, `v1` is a complete frame. `state` is the
    runner's race state; `state["only"]` (a race's primary key) restricts the event to
    subscribers of that race.
    """

    type: str
    runner: int
    t: int
    seed: bytes
    v1: bytes
    state: dict[str, Any]
