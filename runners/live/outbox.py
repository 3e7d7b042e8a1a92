"""The send queue of one socket, with conflation for slow consumers.

A socket that keeps up is sent every position (seed) or each runner's newest position
per tick (typed). For a socket that is behind, only each runner's newest position is
kept: a slow consumer costs bounded memory and gets fresh positions at a lower rate.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from typing import Protocol, cast

from runners.live.close_codes import TOO_FAR_BEHIND
from runners.live.encoding import typed_dialect
from runners.live.encoding.frames import Frames
from runners.live.encoding.messages import Reconnect, message_frame
from runners.live.events import Event, LateFixes, PositionAccepted, RunnerEvent
from runners.live.socket_writer import SocketWriter
from runners.units.clock import now_ms

# Events are never merged. A socket with more of them in its queue is closed.
MAX_EVENT_BYTES = 2 * 1024 * 1024
# The memory of a queued frame besides its bytes.
FRAME_OVERHEAD_BYTES = 50
# How many sockets are written before the event loop runs other tasks.
SOCKETS_PER_PASS = 500


class Flushable(Protocol):
    """Has queued frames, which it writes when `flush` is called."""

    def flush(self) -> None: ...


class WriteScheduler(Protocol):
    """Schedules the writes of outboxes and audiences, and counts them: the hub."""

    loop: asyncio.AbstractEventLoop
    # Positions written, and positions that newer ones have replaced.
    delivered: int
    merged: int
    # The latest `begin` of an outbox: newer positions need not be compared with it.
    latest_begin: int

    def flush_next_pass(self, flushable: Flushable) -> None: ...

    def flush_at_tick(self, flushable: Flushable, tick: int) -> None: ...

    def record_pass(self, since: float, at: float) -> None: ...


class SharedFrames(Protocol):
    """Frames that several outboxes share: an audience's."""

    @property
    def before_this_tick(self) -> tuple[int, int]: ...

    @property
    def runners_of_frame(self) -> Collection[int]: ...

    def catch_up(self, member: TypedOutbox, ticks: int, positions: int) -> None: ...


class Outbox:
    """The part that both dialects share: the queue of events and its limit."""

    __slots__ = ("_event_bytes", "_events", "begins", "hub", "merged", "writer")

    def __init__(self, writer: SocketWriter, hub: WriteScheduler) -> None:
        self.writer = writer
        self.hub = hub
        # From when on positions of runners who are followed one by one may be sent, by
        # primary key. Milliseconds.
        self.begins: dict[int, int] = {}
        # Positions merged away since this socket's last frame.
        self.merged = 0
        self._events: list[bytes] = []
        self._event_bytes = 0
        writer.on_drained = self.catch_up

    def show_from(self, runner: int, begin: int) -> None:
        """Send a followed runner's positions from a time on. Milliseconds."""
        self.begins[runner] = begin
        self.hub.latest_begin = max(self.hub.latest_begin, begin)

    @property
    def waiting(self) -> int:
        """Count the positions in the queue."""
        raise NotImplementedError

    @property
    def has_pending_events(self) -> bool:
        """Return whether events, which are never merged, wait for a slow peer."""
        return self.writer.behind and bool(self._events)

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        """Queue an event of a followed runner."""
        raise NotImplementedError

    def send(self, events: Sequence[Frames[Event]]) -> None:
        """Send events that are never merged, in one write (typed)."""

    def forget(self, runner: int) -> None:
        """Discard the queued positions of a runner who is no longer followed."""
        raise NotImplementedError

    def heartbeat(self, silent_since: float) -> float:
        """Send a heartbeat if the last frame was sent before this loop time (typed).

        Returns when the last frame was sent; infinite if there are no heartbeats.
        """
        return math.inf

    def send_reconnect(self, after: int) -> None:
        """Ask the client to reconnect after `after` milliseconds (typed)."""

    def send_event(self, frame: bytes) -> None:
        """Send a frame that is never merged: answers, errors, events."""
        self.send_events((frame,))

    def send_events(self, frames: Sequence[bytes]) -> None:
        """Send frames that are never merged, in one write with others of this pass."""
        if not self._events:
            self._schedule_events()
        self._events.extend(frames)
        if not self.writer.behind:
            return
        self._event_bytes += sum(map(len, frames)) + FRAME_OVERHEAD_BYTES * len(frames)
        if self._event_bytes > MAX_EVENT_BYTES:
            self._events.clear()
            self.writer.close(TOO_FAR_BEHIND)

    def _schedule_events(self) -> None:
        self.hub.loop.call_soon(self.flush_events)

    def flush_events(self) -> None:
        """Write the queued events, unless the socket is behind."""
        if events := self._pop_events():
            self.writer.write(events)

    def _pop_events(self) -> list[bytes]:
        if self.writer.behind:
            return []
        events, self._events = self._events, []
        self._event_bytes = 0
        return events

    def close(self, code: int) -> None:
        """Close the socket after writing the queued events."""
        self.flush_events()
        self.writer.close(code)

    def catch_up(self) -> None:
        """Send the frames that were queued while the socket was behind."""
        self.flush_events()


class SeedOutbox(Outbox):
    """Sends every position as one frame, joined into one write per pass.

    For positions newer than the beginning of all rights, the hub does itself what
    `receive` does. `queue_position` is the method of a list, because a function in
    Python costs more than all else of a delivery.
    """

    __slots__ = ("_newest", "_queue", "queue_position")

    def __init__(self, writer: SocketWriter, hub: WriteScheduler) -> None:
        super().__init__(writer, hub)
        self._queue: list[Frames[PositionAccepted]] = []
        self.queue_position = self._queue.append
        self._newest: dict[int, bytes] = {}

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._newest)

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        event = frames.event
        if type(event) is PositionAccepted and event.t >= self.begins.get(
            event.runner, 0
        ):
            frames.for_seed()
            self.queue_position(cast("Frames[PositionAccepted]", frames))
            self.hub.flush_next_pass(self)

    def _schedule_events(self) -> None:
        self.hub.flush_next_pass(self)

    def flush(self) -> None:
        """Write the queued events and positions; of a slow peer, keep the newest."""
        queue = self._queue
        if self.writer.behind:
            self._conflate(queue)
        else:
            frames = [frames.seed for frames in queue]
            if self._events:
                frames = [*self._pop_events(), *frames]
            if frames:
                self.writer.write(frames)
                self.hub.delivered += len(queue)
        queue.clear()

    def _conflate(self, queue: Sequence[Frames[PositionAccepted]]) -> None:
        for frames in queue:
            runner = frames.event.runner
            if self._newest.pop(runner, None) is not None:
                self.merged += 1
                self.hub.merged += 1
            self._newest[runner] = frames.seed

    def catch_up(self) -> None:
        super().catch_up()
        if self._newest:
            newest, self._newest = self._newest, {}
            self.merged = 0
            self.writer.write(list(newest.values()))
            self.hub.delivered += len(newest)

    def forget(self, runner: int) -> None:
        self._newest.pop(runner, None)
        self._queue[:] = [f for f in self._queue if f.event.runner != runner]


class TypedOutbox(Outbox):
    """Sends one frame per tick with each runner's newest position."""

    __slots__ = ("_missed", "_rows", "last_frame", "tick")

    def __init__(self, writer: SocketWriter, hub: WriteScheduler) -> None:
        super().__init__(writer, hub)
        self.tick = typed_dialect.DEFAULT_TICK_MS
        self.last_frame = hub.loop.time()
        self._rows: dict[int, bytes] = {}
        # Audiences whose frames were skipped, with their `before_this_tick`.
        self._missed: dict[SharedFrames, tuple[int, int]] = {}

    @property
    def waiting(self) -> int:
        return len(self._rows)

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        event = frames.event
        begin = self.begins.get(event.runner, 0)
        if type(event) is PositionAccepted:
            if event.t >= begin and (row := frames.typed or frames.for_typed()):
                self.queue_row(event.runner, row)
            return
        if type(event) is LateFixes and event.fixes[0][0] < begin:
            frames = Frames(event.since(begin))
        if getattr(event, "only", None) is None and (
            frame := frames.typed or frames.for_typed()
        ):
            self.send_event(frame)

    def send(self, events: Sequence[Frames[Event]]) -> None:
        self.send_events([frames.for_typed() for frames in events])

    def queue_row(self, runner: int, row: bytes) -> None:
        """Queue an encoded row of a `positions` message for the next tick."""
        if not self._rows:
            self.hub.flush_at_tick(self, self.tick)
        elif self._rows.pop(runner, row) != row:
            self.merged += 1
            self.hub.merged += 1
        self._rows[runner] = row

    def write_shared(
        self, frame: tuple[bytes], audience: SharedFrames, now: float
    ) -> bool:
        """Write a frame of an audience; return False if it was skipped (behind).

        `now` is the loop's time.
        """
        writer = self.writer
        if writer.behind:
            self._missed.setdefault(audience, audience.before_this_tick)
            return False
        if self._rows:
            # Backfill of this tick. The frame is at least as new.
            for runner in audience.runners_of_frame:
                self._rows.pop(runner, None)
        if self._events:
            self.flush_events()
        writer.write(frame)
        self.last_frame = now
        return True

    def flush(self) -> None:
        """Write the queued events and rows, unless the socket is behind."""
        if self.writer.behind or not self._rows:
            return
        rows, self._rows = self._rows, {}
        merged, self.merged = self.merged, 0
        frame = typed_dialect.positions_frame(rows.values(), merged, now_ms())
        self.writer.write([*self._pop_events(), frame])
        self.last_frame = self.hub.loop.time()
        self.hub.delivered += len(rows)

    def catch_up(self) -> None:
        super().catch_up()
        self.flush()
        # A frame may fill the buffer again: the rest waits until it is drained.
        while self._missed and not self.writer.behind:
            audience, missed = self._missed.popitem()
            audience.catch_up(self, *missed)

    def heartbeat(self, silent_since: float) -> float:
        """Write an empty frame, because clients take silence for a lost connection."""
        if self.last_frame < silent_since and not self.writer.behind:
            self.writer.write((typed_dialect.positions_frame((), 0, now_ms()),))
            self.last_frame = self.hub.loop.time()
        return self.last_frame

    def forget(self, runner: int) -> None:
        self._rows.pop(runner, None)

    def send_reconnect(self, after: int) -> None:
        self.send_event(message_frame(Reconnect(after)))

    def forget_audience(self, audience: SharedFrames) -> tuple[int, int] | None:
        """Return `before_this_tick` of the first frame that was skipped, if any."""
        return self._missed.pop(audience, None)
