"""Following a whole: a race, or everybody public, those who join later included.

A roster is one process's view of who belongs to a whole. It reads the database once
a second while anybody follows, which is how it learns of changes: by other processes,
the admin, a shell, with or without Redis.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.db.models import QuerySet

from runners import store
from runners.live.audience import Audience
from runners.live.dialects import v1
from runners.live.outbox import TypedOutbox, now_ms
from runners.live.relay import Relay, get_relay
from runners.models import Entry, Race
from runners.models.runner import RunnerQuerySet
from runners.positions.accept import get_acceptor
from runners.sharing.gaps import (
    COMMIT_DELAY,
    Missed,
    stored_meanwhile,
    stored_since,
)
from runners.sharing.snapshots import add_trails, race_item, runner_items
from runners.sharing.viewing import lately_public, visible_runners

logger = logging.getLogger(__name__)

# Between looks at the database. Seconds.
LOOK = 1.0
# To what `since` is rounded down, so that many who come back share a query.
# Milliseconds.
SINCE_STEP = 5_000
# How long an encoded snapshot serves those who ask after it was read. Seconds.
SNAPSHOT_AGE = 1.0


@dataclass(frozen=True, slots=True)
class Whole:
    """Everybody public, or everybody entered for a race (primary key and slug)."""

    race: int | None = None
    slug: str = ""

    def __str__(self) -> str:
        return "public" if self.race is None else f"race {self.slug}"


class Version(NamedTuple):
    """What is another when the race, or who belongs to the whole, has changed."""

    race: object
    runners: object


class RaceGone(Exception):
    """The race has been deleted."""


class Roster:
    """Who belongs to a whole, and the audiences that watch it."""

    def __init__(self, whole: Whole, relay: Relay) -> None:
        self.whole = whole
        self.relay = relay
        self.audiences: dict[int, Audience] = {}
        # The runners as introduced to the members, by primary key.
        self.items: dict[int, dict[str, Any]] = {}
        self._version: Version | None = None
        self._looking = asyncio.Lock()
        self._loaded = asyncio.create_task(self._load())
        self._watch: asyncio.Task[None] | None = None
        self._snapshot: asyncio.Task[list[bytes]] | None = None
        self._snapshot_at = 0.0
        self._readers: list[TypedOutbox] = []
        self._second_look: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._missed: dict[int, tuple[asyncio.Task[Missed], float]] = {}

    async def join(self, outbox: TypedOutbox) -> None:
        """Let a socket follow the whole at its tick; raises `StoreUnavailable`."""
        await asyncio.shield(self._loaded)
        if self._watch is None:
            self._watch = asyncio.create_task(self._look_often())
        audience = self.audiences.get(outbox.tick)
        if audience is None:
            audience = self.audiences[outbox.tick] = Audience(self.relay, outbox.tick)
            audience.introduced.update(self.items)
            audience.joining = asyncio.create_task(
                self.relay.follow(self.items, audience)
            )
        audience.members[outbox] = None
        assert audience.joining is not None
        await asyncio.shield(audience.joining)

    async def change_tick(self, outbox: TypedOutbox) -> None:
        """Move a socket to the audience of the tick that it has now."""
        self.leave(outbox)
        await self.join(outbox)

    def leave(self, outbox: TypedOutbox) -> None:
        """Let a socket follow no longer; the last one ends the roster."""
        for tick, audience in list(self.audiences.items()):
            if outbox in audience.members:
                del audience.members[outbox]
                outbox.forget_audience(audience)
                if not audience.members:
                    del self.audiences[tick]
                    self.relay.unfollow(self.items, audience)

    def close(self) -> None:
        """Stop looking."""
        single = (self._loaded, self._watch, self._snapshot, self._second_look)
        for task in (*single, *self._looks):
            if task is not None:
                task.cancel()

    async def snapshot(self, outbox: TypedOutbox) -> list[bytes]:
        """Return the encoded parts of a snapshot, at most a second old.

        One task builds it for all who wait, and reads once more for them what was
        accepted before and committed after. Raises `StoreUnavailable`.
        """
        now = self.relay.loop.time()
        if self._snapshot is None or (
            self._snapshot.done()
            and (now - self._snapshot_at > SNAPSHOT_AGE or self._snapshot.exception())
        ):
            self._snapshot = asyncio.create_task(store.read(self._encode_snapshot))
            self._snapshot_at = now
            self._readers = []
            self._second_look = asyncio.create_task(
                self._look_twice(now_ms(), self._readers)
            )
        self._readers.append(outbox)
        return await asyncio.shield(self._snapshot)

    async def _look_twice(self, read_at: int, readers: list[TypedOutbox]) -> None:
        # Those who come later get the same snapshot for as long as it serves.
        await asyncio.sleep(SNAPSHOT_AGE + COMMIT_DELAY)
        await get_acceptor().recorder.flushed()
        try:
            missed = await store.read(stored_meanwhile, list(self.items), read_at)
        except store.StoreUnavailable:
            return await self._look_twice(read_at, readers)
        members = {m for audience in self.audiences.values() for m in audience.members}
        self._give(missed, [outbox for outbox in readers if outbox in members])

    def _give(
        self, missed: Missed, takers: Iterable[TypedOutbox] | Iterable[Audience]
    ) -> None:
        """Give what was missed of those who still belong to the whole."""
        late = [frame for pk, frame in missed.late.items() if pk in self.items]
        newest = [
            (pk, row) for pk, row in missed.newest_rows(self.relay) if pk in self.items
        ]
        for taker in takers:
            for frame in late:
                taker.event(frame)
            for pk, row in newest:
                taker.position(pk, row)

    async def missed(self, since: int) -> Missed:
        """Return what was stored since a time; shared by those who ask together."""
        step = since - since % SINCE_STEP
        now = self.relay.loop.time()
        task, read_at = self._missed.get(step, (None, 0.0))
        if task is None or now - read_at > SNAPSHOT_AGE:
            self._missed = {
                s: (t, at) for s, (t, at) in self._missed.items() if now - at < 1
            }
            task = asyncio.create_task(store.read(stored_since, list(self.items), step))
            self._missed[step] = task, now
        return await asyncio.shield(task)

    # In a thread of the store

    def _encode_snapshot(self) -> list[bytes]:
        items = self._read_items()
        add_trails(items)
        races = [] if self.whole.race is None else [race_item(self.whole.race)]
        return v1.snapshot_bodies(items.values(), races)

    def _read_items(self) -> dict[int, dict[str, Any]]:
        if self.whole.race is None:
            return runner_items(lately_public())
        return runner_items(
            visible_runners().filter(entries__race=self.whole.race),
            self.whole.race,
        )

    def _read_version(self) -> Version:
        if self.whole.race is None:
            return Version(None, _fingerprint(lately_public()))
        race = Race.objects.filter(pk=self.whole.race).values_list("changed_at").first()
        if race is None:
            raise RaceGone
        seen = visible_runners().filter(entries__race=self.whole.race)
        entries = Entry.objects.filter(race=self.whole.race)
        return Version(race, (_fingerprint(seen), _fingerprint(entries)))

    def _read(self) -> tuple[Version, dict[int, dict[str, Any]]]:
        # The version first: what changes in between is then seen at the next look.
        return self._read_version(), self._read_items()

    # In the event loop

    async def _load(self) -> None:
        self._version, self.items = await store.read(self._read)

    async def _look_often(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """See who has come and gone, and tell the members."""
        async with self._looking:
            try:
                version = self._version
                if version is None or await store.read(self._read_version) == version:
                    return
                read_at = now_ms()
                new, items = await store.read(self._read)
                if new.race != version.race:
                    self._say_race("changed")
                if added := await self._change(items):
                    self._look_soon_at(added, read_at)
                self._version = new
            except store.StoreUnavailable:
                logger.warning("Could not look for changes of %s", self.whole)
            except RaceGone:
                self._version = None
                self._say_race("removed")
                await self._change({})
            except Exception:
                logger.exception("Looking for changes of %s failed", self.whole)

    def doubt(self) -> None:
        """Read everything at the next look, whatever the version says."""
        if self._version is not None:
            self._version = Version(self._version.race, None)

    def erase(self, runner: int) -> None:
        """Forget where a runner was, here and at the members."""
        item = self.items.get(runner)
        self._forget_snapshots()
        if item is not None:
            item |= {"fix": None, "trail": ""}
            for audience in self.audiences.values():
                audience.forget_places(runner)
            self._introduce("changed", item)

    def _forget_snapshots(self) -> None:
        """Let nobody be told what was true before a change."""
        self._snapshot = None
        self._missed = {}

    def _look_soon_at(self, added: Collection[int], read_at: int) -> None:
        """Give what those who came had accepted before their groups were joined."""

        async def look() -> None:
            await asyncio.sleep(COMMIT_DELAY)
            await get_acceptor().recorder.flushed()
            try:
                missed = await store.read(stored_meanwhile, added, read_at)
            except store.StoreUnavailable:
                return self._look_soon_at(added, read_at)
            self._give(missed, self.audiences.values())

        task = asyncio.create_task(look())
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _change(self, items: dict[int, dict[str, Any]]) -> Collection[int]:
        """Tell the members who joined, changed and left; return who joined."""
        old, self.items = self.items, items
        added = items.keys() - old.keys()
        removed = old.keys() - items.keys()
        self._forget_snapshots()
        # First, and without waiting for anything, whom nobody may see any more.
        for audience in self.audiences.values():
            self.relay.unfollow(removed, audience)
            for pk in removed:
                audience.forget(pk)
        for pk in removed:
            self._introduce("removed", {"code": old[pk]["code"]})
        for audience in list(self.audiences.values()):
            # Joined before they are introduced, so that no fix falls in between.
            await self.relay.follow(added, audience)
            if audience not in self.audiences.values():
                self.relay.unfollow(added, audience)
        for pk in added:
            self._introduce("added", items[pk])
        for pk in items.keys() & old.keys():
            if _lasting(items[pk]) != _lasting(old[pk]):
                self._introduce("changed", items[pk])
        for audience in self.audiences.values():
            audience.introduced.update(added)
        return added

    def _say_race(self, change: str) -> None:
        race = {"slug": self.whole.slug, "change": change}
        self._send(v1.message_frame("event", kind="race", time=now_ms(), race=race))

    def _introduce(self, change: str, item: dict[str, Any]) -> None:
        self._send(
            v1.message_frame(
                "event",
                kind="runner",
                time=now_ms(),
                change=change,
                runner=item if change != "removed" else item["code"],
            )
        )

    def _send(self, frame: bytes) -> None:
        for audience in self.audiences.values():
            audience.event(frame)


def _fingerprint(rows: RunnerQuerySet | QuerySet[Entry]) -> object:
    """Return what is another when rows come, go or change."""
    return frozenset(rows.order_by().values_list("pk", "changed_at"))


def _lasting(item: dict[str, Any]) -> dict[str, Any]:
    """Return what of a runner's item does not change with each fix."""
    return {k: v for k, v in item.items() if k not in ("fix", "trail")}


class Rosters:
    """The rosters of one event loop, each kept while somebody follows."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._rosters: dict[Whole, Roster] = {}
        self._users: dict[Whole, set[TypedOutbox]] = {}

    async def join(self, whole: Whole, outbox: TypedOutbox) -> None:
        """Let a socket follow a whole; raises `StoreUnavailable`, then it does not."""
        users = self._users.setdefault(whole, set())
        users.add(outbox)
        try:
            await self.of(whole).join(outbox)
        except BaseException:
            self.leave((whole,), outbox)
            raise

    def of(self, whole: Whole) -> Roster:
        """Return the roster of a whole that is followed."""
        roster = self._rosters.get(whole)
        if roster is None:
            roster = self._rosters[whole] = Roster(whole, self.relay)
        return roster

    async def look_now(self, runners: set[int]) -> None:
        """See at once who has come and gone, also of these runners."""
        for roster in list(self._rosters.values()):
            if not runners.isdisjoint(roster.items):
                roster.doubt()
            await roster.look()

    def erase(self, runner: int) -> None:
        """Forget where a runner was."""
        for roster in self._rosters.values():
            roster.erase(runner)

    def leave(self, wholes: Iterable[Whole], outbox: TypedOutbox) -> None:
        """Let a socket follow wholes no longer."""
        for whole in wholes:
            users = self._users.get(whole, set())
            users.discard(outbox)
            roster = self._rosters.get(whole)
            if roster is not None:
                roster.leave(outbox)
                if not users:
                    roster.close()
                    del self._rosters[whole]
            if not users:
                self._users.pop(whole, None)


_rosters: WeakKeyDictionary[asyncio.AbstractEventLoop, Rosters] = WeakKeyDictionary()


def get_rosters() -> Rosters:
    """Return the rosters of the running event loop."""
    loop = asyncio.get_running_loop()
    rosters = _rosters.get(loop)
    if rosters is None:
        rosters = _rosters[loop] = Rosters(get_relay())
    return rosters
