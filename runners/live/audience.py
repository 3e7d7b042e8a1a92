"""Sockets that follow the same whole at the same tick share their frames."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runners.live.dialects import v1
from runners.live.groups import POSITION, RunnerEvent
from runners.live.outbox import SOCKETS_A_PASS, TypedOutbox, now_ms

if TYPE_CHECKING:
    from runners.live.hub import Hub


class Audience:
    """Everybody who follows one whole (a race, or all public) at one tick.

    A frame is encoded once a tick however many listen. A runner's rows wait until
    the runner has been introduced to the members.
    """

    def __init__(self, hub: Hub, tick: int, race: int | None = None) -> None:
        self.hub = hub
        self.tick = tick
        # The race that the whole is, or None.
        self.race = race
        self.members: dict[TypedOutbox, None] = {}
        # Joining the runners' groups; every member waits for it.
        self.joining: asyncio.Task[None] | None = None
        self.introduced: set[int] = set()
        self.ticks = 0
        self.rows_sent = 0
        # Both as they were before the last frame: where a member that skips it is.
        self.before_this_tick = (0, 0)
        self.merged = 0
        self._due: dict[int, bytes] = {}
        # When the first of these came, by the loop's clock.
        self._due_since = 0.0
        self._writing = False
        # The newest row of each runner and the tick it went out in, for members that
        # had to skip frames.
        self._newest: dict[int, tuple[int, bytes]] = {}

    def receive(self, event: RunnerEvent) -> None:
        """Take an event of one of the whole's runners."""
        if event["type"] == POSITION:
            if row := event["v1"]:
                self.position(event["runner"], row)
        elif (
            (frame := event["v1"])
            and event["runner"] in self.introduced
            and event["state"].get("only", self.race) == self.race
        ):
            self.event(frame)

    def position(self, runner: int, row: bytes) -> None:
        """Take an encoded row of a `positions` message."""
        if not self._due:
            self._due_since = self.hub.loop.time()
            self.hub.write_at_tick(self, self.tick)
        elif self._due.pop(runner, row) != row:
            self.merged += 1
            self.hub.merged += 1
        self._due[runner] = row

    def event(self, frame: bytes) -> None:
        """Send a frame that is never merged to every member."""
        self.events((frame,))

    def events(self, frames: Sequence[bytes]) -> None:
        """Send frames that are never merged to every member, in one write each."""
        for member in list(self.members):
            member.events(frames)

    def flush(self) -> None:
        """Write this tick's frame to the members.

        Not while the last one is still being written: where there are more members
        than can be served, all get fewer frames, and fresh ones.
        """
        if self._writing:
            self.hub.write_at_tick(self, self.tick)
            return
        rows = {r: row for r, row in self._due.items() if r in self.introduced}
        self._due = {r: row for r, row in self._due.items() if r not in rows}
        if self._due:
            self.hub.write_at_tick(self, self.tick)
        if not rows:
            return
        self.before_this_tick = (self.ticks, self.rows_sent)
        self.ticks += 1
        self.rows_sent += len(rows)
        self._newest.update((r, (self.ticks, row)) for r, row in rows.items())
        frame = v1.positions_frame(rows.values(), self.merged, now_ms())
        self.merged = 0
        since, now = self._due_since, self.hub.loop.time()
        if self._due:
            self._due_since = now
        self._writing = True
        self._write(frame, len(rows), list(self.members), since, now)

    def _write(
        self,
        frame: bytes,
        rows: int,
        members: list[TypedOutbox],
        since: float,
        at: float,
    ) -> None:
        rest = members[SOCKETS_A_PASS:]
        self._writing = bool(rest)
        if rest:
            self.hub.loop.call_soon(self._write, frame, rows, rest, since, at)
        written = 0
        for member in members[:SOCKETS_A_PASS]:
            if member in self.members and member.shared(frame, self):
                written += 1
        self.hub.delivered += written * rows
        self.hub.note_pass(since, at)

    def catch_up(self, member: TypedOutbox, ticks: int, rows_sent: int) -> None:
        """Send a member what is new since it was behind."""
        rows = [row for tick, row in self._newest.values() if tick > ticks]
        if rows and member in self.members:
            merged = self.rows_sent - rows_sent - len(rows)
            frame = v1.positions_frame(rows, merged, now_ms())
            if member.shared(frame, self):
                self.hub.delivered += len(rows)

    def forget(self, runner: int) -> None:
        """Drop what is kept of a runner who left the whole."""
        self.introduced.discard(runner)
        self.forget_places(runner)

    def forget_places(self, runner: int) -> None:
        """Drop where a runner was."""
        self._due.pop(runner, None)
        self._newest.pop(runner, None)
