"""Snapshots that followers of a topic share, and the backfill that completes them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from functools import partial
from typing import Any

from runners import database
from runners.database import RecentReads
from runners.live.audience import Audience
from runners.live.encoding.snapshots import snapshot_bodies
from runners.live.outbox import TypedOutbox
from runners.recovery.backfill import (
    Backfill,
    read_again,
    stored_after,
    stored_since,
)
from runners.snapshots.items import add_trails, race_item
from runners.subscriptions.topic_members import Blockers, Members
from runners.subscriptions.topic_reads import read_items
from runners.units.clock import now_ms

# `since` is rounded down to multiples of this, so that clients who reconnect share a
# query.
SINCE_STEP_MS = 5_000
# How long an encoded snapshot is reused.
SNAPSHOT_MAX_AGE_S = 1.0

# Recipients of frames, each with the runners who have blocked them.
Recipients = Mapping[TypedOutbox | Audience, Blockers]


class SharedSnapshot:
    """A snapshot that is being read, and the sockets that wait for it."""

    def __init__(self, bodies: asyncio.Task[list[bytes]], at: float) -> None:
        self.bodies = bodies
        self.at = at
        self.readers: set[TypedOutbox] = set()


class Snapshots:
    """What members of one topic are sent from the database."""

    def __init__(self, members: Members) -> None:
        self._members = members
        # The latest snapshot, by the blockers that it leaves out.
        self._latest: dict[Blockers, SharedSnapshot] = {}
        # Those whose readers have not had their backfill yet.
        self._incomplete: set[SharedSnapshot] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._backfill: RecentReads[int, Backfill] = RecentReads(SNAPSHOT_MAX_AGE_S)

    async def read(self, outbox: TypedOutbox) -> list[bytes]:
        """Return the encoded parts of a snapshot that is at most a second old.

        One task reads it for all sockets that wait. Positions that were accepted before
        and committed after it are backfilled. Raises `DatabaseUnavailable`.
        """
        now = self._members.hub.loop.time()
        blockers = self._members.blockers_of(outbox)
        shared = self._latest.get(blockers)
        if shared is None or (
            shared.bodies.done()
            and (now - shared.at > SNAPSHOT_MAX_AGE_S or shared.bodies.exception())
        ):
            bodies = asyncio.create_task(
                database.read_snapshot(_encode, self._members.race, blockers)
            )
            shared = self._latest[blockers] = SharedSnapshot(bodies, now)
            self._incomplete.add(shared)
            self._start(self._complete(now_ms(), shared))
        shared.readers.add(outbox)
        return await asyncio.shield(shared.bodies)

    async def backfill(self, since: int, outbox: TypedOutbox) -> Backfill:
        """Return the fixes stored since a time. Concurrent calls share the query."""
        step = since - since % SINCE_STEP_MS
        backfill = await self._backfill.read(
            step, partial(stored_since, list(self._members.items), step)
        )
        blockers = self._members.blockers_of(outbox)
        return backfill.without(blockers) if blockers else backfill

    def backfill_later(
        self, runners: Collection[int], read_at: int, recipients: Recipients
    ) -> None:
        """Send positions that were accepted before the runners' groups were joined."""

        async def read_and_send() -> None:
            backfill = await read_again(
                lambda: self._read_stored_after(runners, read_at)
            )
            self._send_backfill(backfill, recipients)

        self._start(read_and_send())

    def discard(self) -> None:
        """Discard snapshots and backfill that were read before a change."""
        self._latest = {}
        self._backfill.clear()

    def leave(self, outbox: TypedOutbox) -> None:
        """Forget a socket that has left the topic."""
        # Otherwise visitors who leave at once stay in memory until the backfill.
        for shared in self._incomplete:
            shared.readers.discard(outbox)

    def close(self) -> None:
        """Stop all reads."""
        for task in (*self._tasks, *(each.bodies for each in self._latest.values())):
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task that ends with the topic."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _complete(self, read_at: int, shared: SharedSnapshot) -> None:
        """Send the readers of a snapshot what was committed after it."""
        members = self._members
        try:
            # Sockets that follow within this time, or until it is read, get the same
            # one.
            await asyncio.sleep(SNAPSHOT_MAX_AGE_S)
            await asyncio.wait([shared.bodies])
            self._latest = {
                blockers: other
                for blockers, other in self._latest.items()
                if other is not shared
            }
            backfill = await read_again(
                lambda: self._read_stored_after(list(members.items), read_at)
            )
            self._send_backfill(
                backfill,
                {
                    outbox: members.blockers_of(outbox)
                    for outbox in shared.readers
                    if outbox in members
                },
            )
        finally:
            self._incomplete.discard(shared)

    async def _read_stored_after(
        self, runners: Collection[int], read_at: int
    ) -> Backfill:
        """Read the fixes committed since, without those hidden by rights that end."""
        while True:
            removals = self._members.removals
            backfill = await database.read(stored_after, runners, read_at)
            if removals == self._members.removals:
                return backfill

    def _send_backfill(self, backfill: Backfill, recipients: Recipients) -> None:
        """Send backfill of the runners who still belong to the topic."""
        items = self._members.items
        late = [(pk, each) for pk, each in backfill.late.items() if pk in items]
        newest = [
            each
            for each in backfill.newest_positions(self._members.hub)
            if each.event.runner in items
        ]
        for recipient, blockers in recipients.items():
            # One write per recipient: each of a new crowd gets hundreds of frames.
            if theirs := [each for pk, each in late if pk not in blockers]:
                recipient.send(theirs)
            for each in newest:
                if each.event.runner not in blockers:
                    recipient.receive(each)


def _encode(race: int | None, blockers: Blockers) -> list[bytes]:
    """Read and encode a snapshot, in a thread of the database pool."""
    items = {pk: item for pk, item in read_items(race).items() if pk not in blockers}
    add_trails(items)
    races = [] if race is None else [race_item(race)]
    return snapshot_bodies(items.values(), races)
