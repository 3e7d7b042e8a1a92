"""Subscribers of the same topic at the same tick, who share encoded frames."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from runners.live.encoding import typed_dialect
from runners.live.encoding.frames import Frames
from runners.live.events import Event, PositionAccepted, RunnerEvent
from runners.live.outbox import SOCKETS_PER_PASS, TypedOutbox, WriteScheduler
from runners.units.clock import now_ms


class Audience:
    """The sockets that follow one topic (a race, or everybody public) at one tick.

    A frame is encoded once per tick for all members. A runner's rows are queued until
    the members have been sent the runner's item.
    """

    def __init__(self, hub: WriteScheduler, tick: int, race: int | None = None) -> None:
        self.hub = hub
        self.tick = tick
        # The topic's race (a primary key), or None for everybody public.
        self.race = race
        self.members: dict[TypedOutbox, None] = {}
        # Joins the runners' groups; every new member awaits it.
        self.joining: asyncio.Task[None] | None = None
        self.introduced: set[int] = set()
        self.ticks = 0
        # Positions of all frames so far, with those merged away.
        self.positions = 0
        # `ticks` and `positions` before the last frame: the state of a member that
        # skips it.
        self.before_this_tick = (0, 0)
        # The runners of the last frame.
        self.runners_of_frame: Collection[int] = ()
        self.merged = 0
        self._pending: dict[int, bytes] = {}
        # Loop time at which the first of these was queued.
        self._pending_since = 0.0
        # Members to whom the last frame is still to be written, the next one last. A
        # dict, as each one that drains meanwhile is taken out.
        self._remaining: dict[TypedOutbox, None] = {}
        # Each runner's newest row and the tick that sent it, for members that skipped
        # frames.
        self._newest: dict[int, tuple[int, bytes]] = {}

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        """Receive an event of one of the topic's runners."""
        event = frames.event
        if type(event) is PositionAccepted:
            if row := frames.typed or frames.for_typed():
                self._queue_position(event.runner, row)
        elif (
            event.runner in self.introduced
            and getattr(event, "only", None) in (None, self.race)
            and frames.for_typed()
        ):
            self.send((frames,))

    def _queue_position(self, runner: int, row: bytes) -> None:
        """Queue an encoded row of a `positions` message for the next tick."""
        if not self._pending:
            self._pending_since = self.hub.loop.time()
            self.hub.flush_at_tick(self, self.tick)
        elif self._pending.pop(runner, row) != row:
            self.merged += 1
        self._pending[runner] = row

    def send(self, events: Sequence[Frames[Event]]) -> None:
        """Send every member events that are never merged, in one write per member."""
        encoded = [frames.for_typed() for frames in events]
        for member in list(self.members):
            member.send_events(encoded)

    def flush(self) -> None:
        """Write this tick's frame to the members.

        Waits for a later tick while the last frame is still being written: under
        overload all members get fewer frames, with fresh positions.
        """
        if self._remaining:
            self.hub.flush_at_tick(self, self.tick)
            return
        rows = {r: row for r, row in self._pending.items() if r in self.introduced}
        self._pending = {r: row for r, row in self._pending.items() if r not in rows}
        if self._pending:
            self.hub.flush_at_tick(self, self.tick)
        if not rows:
            return
        merged, self.merged = self.merged, 0
        self.before_this_tick = (self.ticks, self.positions)
        self.ticks += 1
        self.positions += len(rows) + merged
        self.runners_of_frame = rows.keys()
        self._newest.update((r, (self.ticks, row)) for r, row in rows.items())
        frame = typed_dialect.positions_frame(rows.values(), merged, now_ms())
        since, now = self._pending_since, self.hub.loop.time()
        if self._pending:
            self._pending_since = now
        self._remaining = dict.fromkeys(reversed(self.members))
        self._write(frame, (len(rows), merged), since, now)

    def _write(
        self, frame: bytes, counts: tuple[int, int], since: float, at: float
    ) -> None:
        count = min(SOCKETS_PER_PASS, len(self._remaining))
        members = [self._remaining.popitem()[0] for _ in range(count)]
        if self._remaining:
            self.hub.loop.call_soon(self._write, frame, counts, since, at)
        written = 0
        one, now = (frame,), self.hub.loop.time()
        for member in members:
            if member in self.members and member.write_shared(one, self, now):
                written += 1
        rows, merged = counts
        self.hub.delivered += written * rows
        self.hub.merged += written * merged
        self.hub.record_pass(since, at)

    def catch_up(self, member: TypedOutbox, ticks: int, positions: int) -> None:
        """Send a member the rows that are newer than the last frame it got."""
        rows = [row for tick, row in self._newest.values() if tick > ticks]
        if rows and member in self.members:
            # The rows include those of a frame that is being written.
            self._skip(member)
            merged = self.positions - positions - len(rows)
            frame = typed_dialect.positions_frame(rows, merged, now_ms())
            member.write_shared((frame,), self, self.hub.loop.time())
            self.hub.delivered += len(rows)
            self.hub.merged += merged

    def hand_over(self, member: TypedOutbox) -> None:
        """Remove a member, and queue in its outbox what it has not been sent."""
        del self.members[member]
        missed = self._skip(member)
        now = self.before_this_tick if missed else (self.ticks, self.positions)
        ticks, positions = member.forget_audience(self) or now
        rows = {r: row for r, (tick, row) in self._newest.items() if tick > ticks}
        merged = self.positions - positions - len(rows) + self.merged
        member.merged += merged
        self.hub.merged += merged
        pending = [each for each in self._pending.items() if each[0] in self.introduced]
        for runner, row in [*rows.items(), *pending]:
            member.queue_row(runner, row)
        # The next frame may have newer rows of the same runners.
        member.flush()

    def _skip(self, member: TypedOutbox) -> bool:
        """Do not write the last frame to a member; return False if it has got it."""
        if member not in self._remaining:
            return False
        del self._remaining[member]
        return True

    def forget(self, runner: int) -> None:
        """Discard queued positions of a runner removed from the topic."""
        self.introduced.discard(runner)
        self.discard_positions(runner)

    def discard_positions(self, runner: int) -> None:
        """Discard a runner's positions, and the backfill that waits in the members."""
        self._pending.pop(runner, None)
        self._newest.pop(runner, None)
        for member in self.members:
            member.forget(runner)
