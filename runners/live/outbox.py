"""What one socket is owed.

While a socket keeps up it gets every position (seed) or the newest of each runner a
tick (typed). When it is behind, the newest position of each runner wins, so that a
slow spectator costs bounded memory and sees fresh positions at a lower rate.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runners.live.dialects import v1
from runners.live.groups import POSITION, RunnerEvent
from runners.live.wire import Wire

if TYPE_CHECKING:
    from runners.live.audience import Audience
    from runners.live.hub import Hub

# Events are never merged; a socket that lets more than these pile up is closed. Bytes.
EVENT_BYTES = 2 * 1024 * 1024
# What a frame that waits costs beside its bytes.
FRAME_OVERHEAD = 50
# How many sockets are written before the event loop does something else.
SOCKETS_A_PASS = 500
TOO_FAR_BEHIND = 4413


def now_ms() -> int:
    """Return the server's clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Outbox:
    """The part that both dialects share: events, and what becomes of a slow socket."""

    __slots__ = ("_event_bytes", "_events", "merged", "hub", "wire")

    def __init__(self, wire: Wire, hub: Hub) -> None:
        self.wire = wire
        self.hub = hub
        # Positions merged away since this socket's last frame.
        self.merged = 0
        self._events: list[bytes] = []
        self._event_bytes = 0
        wire.on_drained = self.catch_up

    @property
    def waiting(self) -> int:
        """Count the positions that wait for this socket."""
        raise NotImplementedError

    @property
    def owes(self) -> bool:
        """Tell whether events wait until the peer reads: no newer ones replace them."""
        return self.wire.behind and bool(self._events)

    def receive(self, event: RunnerEvent) -> None:
        """Take an event of a followed runner."""
        raise NotImplementedError

    def forget(self, runner: int) -> None:
        """Drop what waits of a runner who is no longer followed."""
        raise NotImplementedError

    def heartbeat(self, silent_since: float) -> None:
        """Break a silence that lasts since before a loop time, if the dialect does."""

    def say_reconnect(self, after: int) -> None:
        """Ask to come back in `after` milliseconds, where the dialect has a word."""

    def event(self, frame: bytes) -> None:
        """Send a frame that is never merged: answers, errors, events."""
        self.events((frame,))

    def events(self, frames: Sequence[bytes]) -> None:
        """Send frames that are never merged, in one write with others of this pass."""
        if not self._events:
            self.hub.loop.call_soon(self.say)
        self._events.extend(frames)
        if not self.wire.behind:
            return
        self._event_bytes += sum(map(len, frames)) + FRAME_OVERHEAD * len(frames)
        if self._event_bytes > EVENT_BYTES:
            self._events.clear()
            self.wire.close(TOO_FAR_BEHIND)

    def say(self) -> None:
        """Write the events that wait, unless the socket is behind."""
        if events := self._take_events():
            self.wire.write(events)

    def _take_events(self) -> list[bytes]:
        if self.wire.behind:
            return []
        events, self._events = self._events, []
        self._event_bytes = 0
        return events

    def close(self, code: int) -> None:
        """Close the socket once what was said is written."""
        self.say()
        self.wire.close(code)

    def catch_up(self) -> None:
        """Send what piled up while the socket was behind."""
        self.say()


class SeedOutbox(Outbox):
    """Every position, one frame each, joined into one write a pass of the loop."""

    __slots__ = ("_newest", "_owed")

    def __init__(self, wire: Wire, hub: Hub) -> None:
        super().__init__(wire, hub)
        self._owed: list[bytes] = []
        self._newest: dict[int, bytes] = {}

    @property
    def waiting(self) -> int:
        return len(self._owed) + len(self._newest)

    def receive(self, event: RunnerEvent) -> None:
        if event["type"] != POSITION:
            return
        if self.wire.behind:
            runner = event["runner"]
            if self._newest.pop(runner, None) is not None:
                self.merged += 1
                self.hub.merged += 1
            self._newest[runner] = event["seed"]
        else:
            if not self._owed:
                self.hub.write_next_pass(self)
            self._owed.append(event["seed"])

    def flush(self) -> None:
        """Write what is owed."""
        owed, self._owed = self._owed, []
        self.wire.write([*self._take_events(), *owed])
        self.hub.delivered += len(owed)

    def catch_up(self) -> None:
        super().catch_up()
        if self._newest:
            newest, self._newest = self._newest, {}
            self.merged = 0
            self.wire.write(list(newest.values()))
            self.hub.delivered += len(newest)

    def forget(self, runner: int) -> None:
        self._newest.pop(runner, None)


class TypedOutbox(Outbox):
    """The newest position of each runner, a frame a tick."""

    __slots__ = ("_missed", "_rows", "last_frame", "tick")

    def __init__(self, wire: Wire, hub: Hub) -> None:
        super().__init__(wire, hub)
        self.tick = v1.DEFAULT_TICK
        self.last_frame = hub.loop.time()
        self._rows: dict[int, bytes] = {}
        # Audiences of which frames were skipped, and their count of rows before.
        self._missed: dict[Audience, tuple[int, int]] = {}

    @property
    def waiting(self) -> int:
        return len(self._rows)

    def receive(self, event: RunnerEvent) -> None:
        if event["type"] == POSITION:
            if row := event["v1"]:
                self.position(event["runner"], row)
        elif (frame := event["v1"]) and "only" not in event["state"]:
            self.event(frame)

    def position(self, runner: int, row: bytes) -> None:
        """Take an encoded row of a `positions` message."""
        if not self._rows:
            self.hub.write_at_tick(self, self.tick)
        elif self._rows.pop(runner, row) != row:
            self.merged += 1
            self.hub.merged += 1
        self._rows[runner] = row

    def shared(self, frame: bytes, audience: Audience) -> bool:
        """Take a frame that a whole audience gets; False if behind, so skipped."""
        if self.wire.behind:
            self._missed.setdefault(audience, audience.before_this_tick)
            return False
        self.say()
        self.wire.write((frame,))
        self.last_frame = self.hub.loop.time()
        return True

    def flush(self) -> None:
        """Write what is owed, unless the socket is behind."""
        if self.wire.behind or not self._rows:
            return
        rows, self._rows = self._rows, {}
        merged, self.merged = self.merged, 0
        frame = v1.positions_frame(rows.values(), merged, now_ms())
        self.wire.write([*self._take_events(), frame])
        self.last_frame = self.hub.loop.time()
        self.hub.delivered += len(rows)

    def catch_up(self) -> None:
        super().catch_up()
        self.flush()
        backfill, self._missed = self._missed, {}
        for audience, (ticks, rows_sent) in backfill.items():
            audience.catch_up(self, ticks, rows_sent)

    def heartbeat(self, silent_since: float) -> None:
        """Write an empty frame, so that silence means a lost connection."""
        if self.last_frame < silent_since and not self.wire.behind:
            self.wire.write((v1.positions_frame((), 0, now_ms()),))
            self.last_frame = self.hub.loop.time()

    def forget(self, runner: int) -> None:
        self._rows.pop(runner, None)

    def say_reconnect(self, after: int) -> None:
        self.event(v1.message_frame("reconnect", after=after))

    def forget_audience(self, audience: Audience) -> None:
        self._missed.pop(audience, None)
