"""A topic: a race or everybody public, including runners who join later.

All followers of a topic see the same runners, except for those who have blocked the
follower. A topic is one process's list of its runners. It polls the database once per
second while it has followers, and so detects changes by other processes, the admin and
a shell, with or without Redis.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from functools import partial
from typing import Any, NamedTuple

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from runners import database
from runners.database import RecentReads
from runners.live.audience import Audience
from runners.live.encoding.frames import Frames
from runners.live.encoding.snapshots import snapshot_bodies
from runners.live.events import Event, RaceChanged, RunnerChanged, StatusChanged
from runners.live.hub import Hub
from runners.live.outbox import TypedOutbox
from runners.models import Entry, Race
from runners.models.runner import RunnerQuerySet
from runners.recovery.backfill import (
    Backfill,
    read_again,
    stored_after,
    stored_since,
)
from runners.rights.access import lately_public, race_runners
from runners.snapshots.items import (
    Item,
    Items,
    add_trails,
    race_item,
    runner_items,
    without_fix,
    without_place,
)
from runners.units.clock import now_ms

logger = logging.getLogger(__name__)

# Time between polls of the database.
POLL_S = 1.0
# `since` is rounded down to multiples of this, so that clients who reconnect share a
# query.
SINCE_STEP_MS = 5_000
# If more runners have changed, all are read.
MOST_READ_AGAIN = 1_000
# How long an encoded snapshot is reused.
SNAPSHOT_MAX_AGE_S = 1.0


class TopicName(NamedTuple):
    """Identifies a topic: everybody public, or a race (primary key and slug)."""

    race: int | None = None
    slug: str = ""

    def __str__(self) -> str:
        return "public" if self.race is None else f"race {self.slug}"


# Primary keys of the runners who have blocked the user of a socket.
Blockers = frozenset[int]
NOBODY: Blockers = frozenset()
# Recipients of frames, each with the runners who have blocked them.
Recipients = Mapping[TypedOutbox | Audience, Blockers]


# Pairs of a runner (primary key) and when their row, or that of an entry, changed: as
# the database writes it, because to parse it for thousands each second takes long.
Fingerprint = frozenset[tuple[int, str]]
CHANGED_AT_AS_TEXT = Cast("changed_at", TextField())


class Version(NamedTuple):
    """Changes when the race or the runners of the topic change.

    `runners` and `entries` are None if all have to be read.
    """

    race: object
    runners: Fingerprint | None
    entries: Fingerprint | None

    def changed_since(self, old: Version) -> set[int] | None:
        """Return the runners to read again (primary keys), or None for all."""
        if old.runners is None or self.runners is None or self.race != old.race:
            return None
        assert old.entries is not None
        assert self.entries is not None
        changed = (self.runners ^ old.runners) | (self.entries ^ old.entries)
        return {pk for pk, _ in changed}


class RaceGone(Exception):
    """The race has been deleted."""


class SharedSnapshot:
    """A snapshot that is being read, and the sockets that wait for it."""

    def __init__(self, bodies: asyncio.Task[list[bytes]], at: float) -> None:
        self.bodies = bodies
        self.at = at
        self.readers: set[TypedOutbox] = set()


class Topic:
    """The runners of a topic, and the audiences that follow it."""

    def __init__(
        self,
        topic_name: TopicName,
        hub: Hub,
        blockers: Mapping[TypedOutbox, Blockers],
    ) -> None:
        self.topic_name = topic_name
        self.hub = hub
        # Blockers of signed-in users, by their sockets.
        self.blockers = blockers
        # Audiences by tick and by the runners who have blocked the members.
        self.audiences: dict[tuple[int, Blockers], Audience] = {}
        # The runners' items as sent to the members, by primary key.
        self.items: Items = {}
        self._version: Version | None = None
        self._refreshing = asyncio.Lock()
        self._loaded = asyncio.create_task(self._load())
        self._poller: asyncio.Task[None] | None = None
        # The latest snapshot, by the blockers that it leaves out.
        self._snapshots: dict[Blockers, SharedSnapshot] = {}
        # Those whose readers have not had their backfill yet.
        self._incomplete: set[SharedSnapshot] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._backfill: RecentReads[int, Backfill] = RecentReads(SNAPSHOT_MAX_AGE_S)
        self._removals = 0

    def removed_for(self, outbox: TypedOutbox) -> object:
        """Return a value that changes when a runner is removed for a socket."""
        return self._removals, self.blockers.get(outbox, NOBODY)

    async def join(self, outbox: TypedOutbox) -> None:
        """Let a socket follow the topic at its tick; raises `DatabaseUnavailable`."""
        await asyncio.shield(self._loaded)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        joining = self._enter(outbox).joining
        assert joining is not None
        await asyncio.shield(joining)

    def _enter(self, outbox: TypedOutbox) -> Audience:
        """Add a socket to the audience of its tick and its user's blockers."""
        blockers = self.blockers.get(outbox, NOBODY)
        audience = self.audiences.get((outbox.tick, blockers))
        if audience is None:
            audience = Audience(self.hub, outbox.tick, self.topic_name.race)
            self.audiences[outbox.tick, blockers] = audience
            seen = self.items.keys() - blockers
            audience.introduced.update(seen)
            audience.joining = asyncio.create_task(self.hub.subscribe(seen, audience))
        audience.members[outbox] = None
        return audience

    async def change_tick(self, outbox: TypedOutbox) -> None:
        """Move a socket to the audience of its new tick."""
        self._remove(outbox)
        await self.join(outbox)

    def change_blockers(self, outbox: TypedOutbox, before: Blockers) -> None:
        """Move a member to the audience of their new blockers.

        Sends the differences.
        """
        if not self._remove(outbox):
            return
        now = self.blockers[outbox]
        for pk in self.items.keys() & (now - before):
            outbox.forget(pk)
            outbox.send([_changed("removed", self.items[pk])])
        self._enter(outbox)
        for pk in self.items.keys() & (before - now):
            outbox.send([_changed("added", self.items[pk])])
        # Sends what the previous audience had queued for the socket.
        self._backfill_later(list(self.items), now_ms(), {outbox: now})

    def leave(self, outbox: TypedOutbox) -> None:
        """Remove a socket from the topic."""
        self._remove(outbox)
        # Otherwise visitors who leave at once stay in memory until the backfill.
        for shared in self._incomplete:
            shared.readers.discard(outbox)

    def _remove(self, outbox: TypedOutbox) -> bool:
        """Remove a socket from its audience; return whether it had one."""
        was_member = False
        for key, audience in list(self.audiences.items()):
            if outbox in audience.members:
                was_member = True
                del audience.members[outbox]
                outbox.forget_audience(audience)
                if not audience.members:
                    del self.audiences[key]
                    self.hub.unsubscribe(self.items, audience)
        return was_member

    def close(self) -> None:
        """Stop polling."""
        shared = [shared.bodies for shared in self._snapshots.values()]
        for task in (self._loaded, self._poller, *shared, *self._tasks):
            if task is not None:
                task.cancel()

    async def snapshot(self, outbox: TypedOutbox) -> list[bytes]:
        """Return the encoded parts of a snapshot that is at most a second old.

        One task reads it for all sockets that wait. Positions that were accepted before
        and committed after it are backfilled. Raises `DatabaseUnavailable`.
        """
        now = self.hub.loop.time()
        blockers = self.blockers.get(outbox, NOBODY)
        shared = self._snapshots.get(blockers)
        if shared is None or (
            shared.bodies.done()
            and (now - shared.at > SNAPSHOT_MAX_AGE_S or shared.bodies.exception())
        ):
            bodies = asyncio.create_task(
                database.read_snapshot(self._encode_snapshot, blockers)
            )
            shared = self._snapshots[blockers] = SharedSnapshot(bodies, now)
            self._incomplete.add(shared)
            self._start(self._backfill_readers(now_ms(), shared))
        shared.readers.add(outbox)
        return await asyncio.shield(shared.bodies)

    async def _backfill_readers(self, read_at: int, shared: SharedSnapshot) -> None:
        try:
            # Sockets that follow within this time, or until it is read, get the same
            # one.
            await asyncio.sleep(SNAPSHOT_MAX_AGE_S)
            await asyncio.wait([shared.bodies])
            self._snapshots = {
                blockers: other
                for blockers, other in self._snapshots.items()
                if other is not shared
            }
            backfill = await read_again(
                lambda: self._read_stored_after(list(self.items), read_at)
            )
            members = {
                m for audience in self.audiences.values() for m in audience.members
            }
            self._send_backfill(
                backfill,
                {
                    outbox: self.blockers.get(outbox, NOBODY)
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
            removals = self._removals
            backfill = await database.read(stored_after, runners, read_at)
            if removals == self._removals:
                return backfill

    def _send_backfill(self, backfill: Backfill, recipients: Recipients) -> None:
        """Send backfill of the runners who still belong to the topic."""
        late = [(pk, each) for pk, each in backfill.late.items() if pk in self.items]
        newest = [
            each
            for each in backfill.newest_positions(self.hub)
            if each.event.runner in self.items
        ]
        for recipient, blockers in recipients.items():
            # One write per recipient: each of a new crowd gets hundreds of frames.
            if theirs := [each for pk, each in late if pk not in blockers]:
                recipient.send(theirs)
            for each in newest:
                if each.event.runner not in blockers:
                    recipient.receive(each)

    async def backfill(self, since: int, outbox: TypedOutbox) -> Backfill:
        """Return the fixes stored since a time. Concurrent calls share the query."""
        step = since - since % SINCE_STEP_MS
        backfill = await self._backfill.read(
            step, partial(stored_since, list(self.items), step)
        )
        blockers = self.blockers.get(outbox, NOBODY)
        return backfill.without(blockers) if blockers else backfill

    # -- in a thread of the database pool

    def _encode_snapshot(self, blockers: Blockers) -> list[bytes]:
        items = self._read_items()
        items = {pk: item for pk, item in items.items() if pk not in blockers}
        add_trails(items)
        races = (
            [] if self.topic_name.race is None else [race_item(self.topic_name.race)]
        )
        return snapshot_bodies(items.values(), races)

    def _seen(self) -> RunnerQuerySet:
        race = self.topic_name.race
        return lately_public() if race is None else race_runners(race)

    def _read_items(self) -> Items:
        return runner_items(self._seen(), self.topic_name.race)

    def _read_version(self) -> Version:
        race, seen = None, self._seen()
        # Without hidden runners, whose start and finish would cause visible refreshes.
        entries = Entry.objects.filter(runner__in=seen)
        if (pk := self.topic_name.race) is not None:
            race = Race.objects.filter(pk=pk).values_list("changed_at").first()
            if race is None:
                raise RaceGone
            entries = entries.filter(race=pk)
        return Version(race, _fingerprint(seen, "pk"), _fingerprint(entries, "runner"))

    def _read(self) -> tuple[Version, Items]:
        # The version is read first, so that the next poll detects changes in between.
        return self._read_version(), self._read_items()

    def _read_changes(self, old: Version) -> tuple[Version, Items] | None:
        """Return the new version and all items, or None if nothing has changed."""
        new = self._read_version()
        if new == old:
            return None
        changed = new.changed_since(old)
        if changed is None or len(changed) > MOST_READ_AGAIN:
            return new, self._read_items()
        assert new.runners is not None
        seen = {pk for pk, _ in new.runners}
        again = runner_items(changed & seen, self.topic_name.race)
        kept = seen - changed
        items = {pk: item for pk, item in self.items.items() if pk in kept}
        return new, items | again

    # -- in the event loop

    async def _load(self) -> None:
        self._version, self.items = await database.read_snapshot(self._read)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the topic's runners if they have changed, and notify the members."""
        async with self._refreshing:
            try:
                version = self._version
                if version is None:
                    return
                read_at = now_ms()
                changes = await database.read(self._read_changes, version)
                if changes is None:
                    return
                new, items = changes
                if new.race != version.race:
                    self._send_race_change("changed")
                if added := await self._update_items(items):
                    recipients: Recipients = {
                        a: blockers for (_, blockers), a in self.audiences.items()
                    }
                    self._backfill_later(added, read_at, recipients)
                self._version = new
            except database.DatabaseUnavailable:
                logger.warning(
                    "Changes of topic %s could not be read; trying again",
                    self.topic_name,
                )
            except RaceGone:
                self._version = None
                self._send_race_change("removed")
                await self._update_items({})
            except Exception:
                logger.exception(
                    "Polling changes of topic %s failed; trying again", self.topic_name
                )

    def invalidate(self) -> None:
        """Make the next refresh read everything, regardless of the version."""
        if self._version is not None:
            self._version = Version(self._version.race, None, None)

    def erase(self, runner: int) -> None:
        """Discard a runner's positions, here and in the audiences."""
        item = self.items.get(runner)
        self._discard_snapshots()
        self._removals += 1
        if item is not None:
            item = self.items[runner] = without_place(item)
            for audience in self.audiences.values():
                audience.discard_positions(runner)
            self._send_item("changed", runner, item)

    def _discard_snapshots(self) -> None:
        """Discard snapshots and backfill that were read before a change."""
        self._snapshots = {}
        self._backfill.clear()

    def _backfill_later(
        self,
        runners: Collection[int],
        read_at: int,
        recipients: Recipients,
    ) -> None:
        """Send positions that were accepted before the runners' groups were joined."""

        async def read_and_send() -> None:
            backfill = await read_again(
                lambda: self._read_stored_after(runners, read_at)
            )
            self._send_backfill(backfill, recipients)

        self._start(read_and_send())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task that ends with the topic."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _update_items(self, items: Items) -> Collection[int]:
        """Replace the items, notify the members, and return the added runners."""
        old, self.items = self.items, items
        added = items.keys() - old.keys()
        removed = old.keys() - items.keys()
        self._removals += len(removed)
        self._discard_snapshots()
        # Hide runners first, and without awaiting anything.
        for audience in self.audiences.values():
            self.hub.unsubscribe(removed, audience)
            for pk in removed:
                audience.forget(pk)
        for pk in removed:
            self._send_item("removed", pk, old[pk])
        for (_, blockers), audience in list(self.audiences.items()):
            # Join the groups before the members get the items, so that no fix is lost
            # in between.
            await self.hub.subscribe(added - blockers, audience)
            if audience not in self.audiences.values():
                self.hub.unsubscribe(added, audience)
        for pk in added:
            self._send_item("added", pk, items[pk])
        for pk in items.keys() & old.keys():
            if without_fix(items[pk]) != without_fix(old[pk]):
                self._send_item("changed", pk, items[pk])
            state = items[pk]["state"]
            if state and state != old[pk]["state"]:
                status = StatusChanged(pk, items[pk]["code"], state, now_ms())
                self._send(pk, Frames(status))
        for (_, blockers), audience in self.audiences.items():
            audience.introduced.update(added - blockers)
        return added

    def _send_race_change(self, change: str) -> None:
        changed = Frames(RaceChanged(change, self.topic_name.slug, now_ms()))
        for audience in self.audiences.values():
            audience.send([changed])

    def _send_item(self, change: str, runner: int, item: Item) -> None:
        self._send(runner, _changed(change, item))

    def _send(self, runner: int, frames: Frames[Event]) -> None:
        for (_, blockers), audience in self.audiences.items():
            if runner not in blockers:
                audience.send([frames])


def _changed(change: str, item: Item) -> Frames[RunnerChanged[Item]]:
    return Frames(RunnerChanged(change, item, now_ms()))


def _fingerprint(rows: RunnerQuerySet | QuerySet[Entry], runner: str) -> Fingerprint:
    """Return a value that changes when rows are added, removed or changed."""
    return frozenset(rows.order_by().values_list(runner, CHANGED_AT_AS_TEXT))
