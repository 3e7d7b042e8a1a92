"""The state of a runner who publishes, and the processing of their fixes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from django.conf import settings

from runners.live.encoding import seed, v1
from runners.live.encoding.ids import WireId
from runners.live.groups import (
    LATE_FIXES,
    POSITION,
    RUNNER_EVENT,
    RunnerEvent,
    runner_group,
)
from runners.live.outbox import now_ms
from runners.positions.fix import Fix
from runners.positions.phone_status import PhoneStatus
from runners.positions.privacy_rules import PrivacyRules
from runners.positions.running import FollowerEvent, Running
from runners.positions.storage import Change, Row
from runners.races.progress import Seen


@dataclass(frozen=True, slots=True)
class Publisher:
    """A runner who publishes: the primary key and the code."""

    pk: int
    code: str


class Track:
    """This process's state of a runner who publishes.

    It subscribes to the runner's group to include fixes accepted by other processes.
    Times are in milliseconds.
    """

    def __init__(self) -> None:
        self.latest = 0
        self.rules = PrivacyRules()
        # The runner's present race, if any, and the time to read the next one.
        self.running: Running | None = None
        self.running_until = math.inf
        # Whether late fixes of the race have arrived, and the fixes that arrived during
        # the recomputation.
        self.late = False
        self.meanwhile: list[Fix] | None = None
        self.recompute_task: asyncio.Task[None] | None = None
        self.phone = PhoneStatus()
        self.used_at = 0.0
        self.ready: asyncio.Task[None] | None = None

    def receive(self, event: RunnerEvent) -> None:
        """Adopt the state in an event."""
        if self.running is not None and event["state"]:
            self.running.adopt(event["state"])
        if event["type"] == POSITION and event["t"] > self.latest:
            self.latest = event["t"]

    @property
    def newest(self) -> int:
        """Return the time of the newest fix, shown or held."""
        running = self.running
        return self.latest if running is None else max(self.latest, running.state.t)

    def running_at(self, t: int) -> Running | None:
        """Return the race that a fix of this time belongs to."""
        running = self.running
        if running is None or not running.engagement.is_on(t):
            return None
        return running


class Processed(NamedTuple):
    """The result of processing fixes: events to send and rows to store."""

    events: list[tuple[str, RunnerEvent]]
    rows: list[Row]
    changes: list[Change]


def process_fixes(
    runner: Publisher,
    track: Track,
    fixes: Sequence[Fix],
    wire_id: WireId,
    source: str,
    *,
    live: bool = False,
) -> Processed:
    """Advance the track by fixes, in the order of their times.

    With `live`, each fix that is newer than all before it moves the marker, otherwise
    the last one does. Marks the track for recomputation if fixes of the race are late.
    """
    processed = Processed([], [], [])
    late: list[tuple[int, float, float]] = []
    # The fixes to show, each with its result and whether it moves the marker.
    shown: list[tuple[Fix, Seen, bool]] = []
    follower_events: list[FollowerEvent] = []
    # The race after the last fix, and the row that stores its state.
    stepped: Running | None = None
    carrier = -1
    for fix in fixes:
        running = track.running_at(fix.t)
        if fix.t <= track.newest:
            late.append((fix.t, fix.lat, fix.lng))
            processed.rows.append(Row(runner.pk, fix, source))
            track.late |= running is not None
            continue
        if track.meanwhile is not None:
            track.meanwhile.append(fix)
        stepped, seen, held = running, Seen(None), False
        if running is None:
            processed.rows.append(Row(runner.pk, fix, source))
        else:
            before = running.state
            seen = running.advance(fix)
            # In open mode anybody may publish as anybody, so no fix is implausible.
            held = seen.held and not settings.SPECTATE_OPEN
            processed.rows.append(Row(runner.pk, fix, source, seen.progress, held))
            processed.changes.extend(running.changes(runner.pk, before, seen))
            follower_events.extend(
                running.follower_events(runner.code, before, seen.splits)
            )
            for old in seen.confirmed if not settings.SPECTATE_OPEN else ():
                confirmed = Fix(old.t, old.lat, old.lng)
                shown.append((confirmed, Seen(old.progress), False))
        if held:
            continue
        carrier = len(processed.rows) - 1
        track.latest = fix.t
        shown.append((fix, seen, live))
    group = runner_group(runner.pk)
    state: dict[str, Any] = {}
    if stepped is not None:
        state = stepped.carried()
        if shown:
            encoded = orjson.dumps(state).decode()
            processed.rows[carrier] = processed.rows[carrier]._replace(state=encoded)
    begins = track.rules.race_from
    if begins and begins <= now_ms():
        # Fixes from before the race window are stored and never shown.
        shown = [each for each in shown if each[0].t >= begins]
        late = [each for each in late if each[0] >= begins]
    for fix, seen, moves in shown[:-1]:
        if not moves:
            late.append((fix.t, fix.lat, fix.lng))
        processed.events.append(
            (group, position_event(runner, fix, seen, wire_id, moves=moves))
        )
    for fix, seen, _ in shown[-1:]:
        event = position_event(runner, fix, seen, wire_id, moves=True)
        event["state"] = state
        processed.events.append((group, event))
        if track.phone.is_news(fix):
            follower_events.append(FollowerEvent(phone_frame(runner, fix)))
    if late:
        late.sort()
        frame = v1.late_frame(runner.code, late)
        processed.events.append(
            (group, frame_event(LATE_FIXES, runner, late[-1][0], frame))
        )
    if stepped is not None and not shown:
        # Held fixes are not shown, but other processes need the state.
        event = frame_event(RUNNER_EVENT, runner, stepped.state.t, b"")
        event["state"] = state
        processed.events.append((group, event))
    for unsent in follower_events:
        processed.events.append((group, follower_event(runner, track.latest, unsent)))
    return processed


def position_event(
    runner: Publisher,
    fix: Fix,
    seen: Seen,
    wire_id: WireId,
    *,
    moves: bool,
) -> RunnerEvent:
    """Encode a fix once for each dialect."""
    row = b""
    if moves:
        row = v1.position_row(
            runner.code,
            v1.fix_row(
                *(fix.t, fix.lat, fix.lng, fix.speed, fix.heading),
                *(seen.progress, seen.uncertainty),
            ),
        )
    return {
        "type": POSITION,
        "runner": runner.pk,
        "t": fix.t,
        "seed": seed.position_frame(wire_id, fix.lat, fix.lng),
        "v1": row,
        "state": {},
    }


def phone_frame(runner: Publisher, fix: Fix) -> bytes:
    """Encode the phone's accuracy and battery as of a fix."""
    return v1.message_frame(
        "event",
        kind="phone",
        time=now_ms(),
        runner=runner.code,
        accuracy=None if fix.accuracy is None else round(fix.accuracy),
        battery=None if fix.battery is None else round(fix.battery),
    )


def frame_event(type_: str, runner: Publisher, t: int, frame: bytes) -> RunnerEvent:
    """Return an event with a complete frame for the typed dialect."""
    return {
        "type": type_,
        "runner": runner.pk,
        "t": t,
        "seed": b"",
        "v1": frame,
        "state": {},
    }


def follower_event(runner: Publisher, t: int, unsent: FollowerEvent) -> RunnerEvent:
    """Return an event for a runner's followers."""
    event = frame_event(RUNNER_EVENT, runner, t, unsent.frame)
    if unsent.only is not None:
        event["state"] = {"only": unsent.only}
    return event
