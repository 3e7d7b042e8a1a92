"""A topic: a race or everybody public, including runners who join later.

A topic is one process's list of its runners. It polls the database once per second
while it has followers, and so detects changes by other processes, the admin and a
shell, with or without Redis.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

from runners import database
from runners.live.encoding.frames import Frames
from runners.live.events import RaceChanged
from runners.live.hub import Hub
from runners.live.outbox import TypedOutbox
from runners.subscriptions.topic_members import Blockers, Members
from runners.subscriptions.topic_reads import (
    RaceGone,
    Version,
    read_changes,
    read_topic,
)
from runners.subscriptions.topic_snapshots import Recipients, Snapshots
from runners.units.clock import now_ms

logger = logging.getLogger(__name__)

# Time between polls of the database.
POLL_S = 1.0


class TopicName(NamedTuple):
    """Identifies a topic: everybody public, or a race (primary key and slug)."""

    race: int | None = None
    slug: str = ""

    def __str__(self) -> str:
        return "public" if self.race is None else f"race {self.slug}"


class Topic:
    """Keeps the members and snapshots of a topic up to date."""

    def __init__(
        self,
        topic_name: TopicName,
        hub: Hub,
        blockers: Mapping[TypedOutbox, Blockers],
    ) -> None:
        self.topic_name = topic_name
        self.members = Members(hub, topic_name.race, blockers)
        self.snapshots = Snapshots(self.members)
        self._version: Version | None = None
        self._refreshing = asyncio.Lock()
        self._loaded = asyncio.create_task(self._load())
        self._poller: asyncio.Task[None] | None = None

    async def join(self, outbox: TypedOutbox) -> None:
        """Let a socket follow the topic at its tick; raises `DatabaseUnavailable`."""
        await asyncio.shield(self._loaded)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        joining = self.members.add(outbox).joining
        assert joining is not None
        await asyncio.shield(joining)

    def change_blockers(self, outbox: TypedOutbox, before: Blockers) -> None:
        """Move a member to the audience of their new blockers.

        Sends the differences.
        """
        if self.members.change_blockers(outbox, before):
            # Sends what the previous audience had queued for the socket.
            now = self.members.blockers_of(outbox)
            runners = list(self.members.items)
            self.snapshots.backfill_later(runners, now_ms(), {outbox: now})

    def leave(self, outbox: TypedOutbox) -> None:
        """Remove a socket from the topic."""
        self.members.remove(outbox)
        self.snapshots.leave(outbox)

    def close(self) -> None:
        """Stop polling."""
        self.snapshots.close()
        for task in (self._loaded, self._poller):
            if task is not None:
                task.cancel()

    async def _load(self) -> None:
        self._version, self.members.items = await database.read_snapshot(
            read_topic, self.topic_name.race
        )

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the topic's runners if they have changed, and notify the members."""
        async with self._refreshing:
            try:
                await self._refresh()
            except database.DatabaseUnavailable:
                logger.warning(
                    "Changes of topic %s could not be read; trying again",
                    self.topic_name,
                )
            except RaceGone:
                self._version = None
                self._send_race_change("removed")
                self.snapshots.discard()
                await self.members.update({})
            except Exception:
                logger.exception(
                    "Polling changes of topic %s failed; trying again", self.topic_name
                )

    async def _refresh(self) -> None:
        members, version = self.members, self._version
        if version is None:
            return
        read_at = now_ms()
        changes = await database.read(
            read_changes, self.topic_name.race, version, members.items
        )
        if changes is None:
            return
        new, items = changes
        if new.race != version.race:
            self._send_race_change("changed")
        self.snapshots.discard()
        if added := await members.update(items):
            recipients: Recipients = {
                audience: blockers
                for (_, blockers), audience in members.audiences.items()
            }
            self.snapshots.backfill_later(added, read_at, recipients)
        self._version = new

    def invalidate(self) -> None:
        """Make the next refresh read everything, regardless of the version."""
        if self._version is not None:
            self._version = Version(self._version.race, None, None)

    def erase(self, runner: int) -> None:
        """Discard a runner's positions."""
        self.snapshots.discard()
        self.members.erase(runner)

    def _send_race_change(self, change: str) -> None:
        changed = Frames(RaceChanged(change, self.topic_name.slug, now_ms()))
        for audience in self.members.audiences.values():
            audience.send([changed])
