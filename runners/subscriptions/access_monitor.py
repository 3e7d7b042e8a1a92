"""Enforces changed rights on open sockets within a second.

Each serving process polls new rows of `RightsChange` every 300 ms and reauthorizes the
sockets concerned. Rights that end by the clock write no row: each socket has the time
at which it must be rechecked.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from django.db.models import Q

from runners import database
from runners.live.encoding.frames import Frames
from runners.live.events import Event, RunnerChanged, StatusChanged
from runners.live.outbox import Outbox
from runners.models import LinkViewers, RightsChange
from runners.positions.pipeline import Pipeline
from runners.positions.privacy_rules import forget_hidden
from runners.positions.track import Publisher
from runners.races.predictions import discard_predictions
from runners.rights import access
from runners.rights.access import AccessCheck, AccessDecision, Viewer
from runners.snapshots import items as snapshots
from runners.subscriptions.settled_splits import settled_splits
from runners.subscriptions.topic_registry import TopicRegistry
from runners.units.clock import now_ms

logger = logging.getLogger(__name__)

# Time between polls of the table.
POLL_S = 0.3
# Transactions may commit in a different order than their ids, so missing ids are polled
# again for this long. If there are more than MOST_LATE of them, all rows of this time
# are read instead.
OVERLAP_S = 10.0
MOST_LATE = 10_000
# After this time of failed polls only positions of public runners are sent.
UNREADABLE_AFTER_S = 5.0
# No commit takes longer. The request itself has erased older rows.
COMMIT_TIMEOUT_S = 60.0
# How often the viewers of share links are counted.
COUNT_VIEWERS_S = 5.0
# Access checks per call. A limit lets the first decisions be applied early.
CHECKS_PER_CALL = 50


class MonitoredSocket(Protocol):
    """The interface of a socket for the access monitor."""

    viewer: Viewer
    publisher: Publisher | None
    outbox: Outbox
    # The time when the first of its rights ends, in seconds since the epoch. Those for
    # whom it is not infinite are in the monitor's `expiring`.
    recheck_at: float

    @property
    def following(self) -> dict[str, int]:
        """Return the runners followed one by one: primary keys by code."""

    @property
    def races(self) -> frozenset[int]:
        """Return the primary keys of the followed races."""

    def apply_decision(self, check: AccessCheck, decision: AccessDecision) -> None:
        """End the subscriptions that are no longer allowed, and notify the client."""

    def withhold_private(self) -> None:
        """Stop sending runners who are not visible to everybody."""

    def erase(self, runner: int) -> None:
        """Discard queued positions of a runner who erased theirs."""

    def send_events(self, events: Sequence[Frames[Event]]) -> None:
        """Send events about a runner followed individually."""


@dataclass
class Changes:
    """The primary keys that a poll found, by kind."""

    runners: set[int] = field(default_factory=set)
    races: set[int] = field(default_factory=set)
    tokens: set[int] = field(default_factory=set)
    links: set[int] = field(default_factory=set)
    users: set[int] = field(default_factory=set)
    splits: set[int] = field(default_factory=set)
    erased: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, rows: Iterable[RightsChange]) -> Changes:
        """Group rows by their kind."""
        changes = cls()
        kinds: dict[str, set[int]] = {
            RightsChange.Kind.RUNNER: changes.runners,
            RightsChange.Kind.RACE: changes.races,
            RightsChange.Kind.TOKEN: changes.tokens,
            RightsChange.Kind.LINK: changes.links,
            RightsChange.Kind.USER: changes.users,
            RightsChange.Kind.SPLIT: changes.splits,
        }
        for row in rows:
            # During a rolling deploy, a newer version may write kinds that are unknown
            # here.
            kinds.get(row.kind, set()).add(row.key)
            if row.erased:
                changes.erased.add(row.key)
        return changes

    def concern(self, socket: MonitoredSocket) -> bool:
        """Return whether a socket may have lost a right."""
        viewer, publisher = socket.viewer, socket.publisher
        return (
            viewer.token in self.tokens
            or viewer.user in self.users
            or not self.links.isdisjoint(viewer.links)
            or not self.runners.isdisjoint(socket.following.values())
            or (publisher is not None and publisher.pk in self.runners)
            or (bool(self.races) and bool(socket.following or viewer.links))
            or (bool(self.races) and not self.races.isdisjoint(socket.races))
        )


class AccessMonitor:
    """Ends subscriptions of one event loop's sockets that have lost their right."""

    def __init__(self, pipeline: Pipeline, topics: TopicRegistry) -> None:
        self.pipeline = pipeline
        self.topics = topics
        self.sockets: set[MonitoredSocket] = set()
        # Those with a right that ends at a known time, see `recheck_at`. In a crowd
        # they are few, and to look at 15,000 takes 1 to 3 ms per poll.
        self.expiring: set[MonitoredSocket] = set()
        # Numbers of open sockets by what limits them: (kind, primary key).
        self.socket_counts: Counter[tuple[str, int]] = Counter()
        # Incremented by each change: rights that were read at an earlier generation may
        # be out of date.
        self.generation = 0
        self._erasing: set[asyncio.Task[None]] = set()
        # Whether private runners are withheld because polls have failed for too long.
        self.withholding = False
        self._seen: dict[int, float] = {}
        self._floor: int | None = None
        self._polled_at = time.monotonic()
        self._counting = asyncio.create_task(self._count_viewers())
        self._task = asyncio.create_task(self._poll_often())

    def count_socket(self, kind: str, key: int, limit: int) -> bool:
        """Count a socket of a user, token or link; return False at the limit."""
        if self.socket_counts[kind, key] >= limit:
            return False
        self.socket_counts[kind, key] += 1
        return True

    def release_sockets(self, socket_counts: Iterable[tuple[str, int]]) -> None:
        """Decrement the counts of sockets when a connection ends."""
        for key in socket_counts:
            self.socket_counts[key] -= 1
            if self.socket_counts[key] <= 0:
                del self.socket_counts[key]

    async def _count_viewers(self) -> None:
        """Store the number of sockets of each share link, which pages show."""
        process = uuid.uuid4().hex
        stored: dict[int, int] = {}
        while True:
            await asyncio.sleep(COUNT_VIEWERS_S)
            now = {
                key: n
                for (kind, key), n in self.socket_counts.items()
                if kind == "link"
            }
            if not now and not stored:
                continue
            try:
                await database.read(LinkViewers.objects.say, process, now)
                stored = now
            except database.DatabaseUnavailable:
                pass  # The next round stores the counts of its moment.

    async def _poll_often(self) -> None:
        while True:
            try:
                await self._poll()
            except database.DatabaseUnavailable:
                if (
                    time.monotonic() - self._polled_at > UNREADABLE_AFTER_S
                    and not self.withholding
                ):
                    logger.warning("Rights cannot be read; sending public runners only")
                    self.withholding = True
                    for socket in list(self.sockets):
                        socket.withhold_private()
            except Exception:
                logger.exception("Polling changed rights failed; trying again")
            await asyncio.sleep(POLL_S)

    async def _poll(self) -> None:
        started = time.monotonic()
        first = self._floor is None
        if self._floor is None:
            self._floor = await database.read_rights(RightsChange.objects.newest_id)
        rows = await self._new_changes(self._floor)
        changes = Changes.of(rows)
        if rows:
            # Rights read before this are outdated, see `generation`.
            self.generation += 1
        # The first poll also refreshes what was in use before.
        runners = self.pipeline.tracks.runners if first else changes.runners
        if runners or changes.races:
            await self.pipeline.tracks.refresh(runners, changes.races)
        now = time.time()
        all_of_them = first or self.withholding
        concerned = [
            socket
            for socket in (self.sockets if rows or all_of_them else self.expiring)
            if socket.recheck_at <= now
            or all_of_them
            or (rows and changes.concern(socket))
        ]
        await self.reauthorize(concerned)
        if first or changes.runners:
            await self.topics.refresh_blockers(None if first else changes.runners)
        if rows:
            await self.topics.refresh(changes.runners)
        for runner in changes.erased:
            self._erase_soon(runner)
        if changes.runners:
            discard_predictions(changes.runners)
            await self._notify_followers(changes.runners)
        if changes.splits:
            events = await database.read(settled_splits, changes.splits)
            # With a new estimate.
            await self._notify_followers(
                {event.runner for event in events} - changes.runners
            )
            # Their phones' splits at these checkpoints are not published any more.
            await self.pipeline.tracks.refresh({event.runner for event in events})
            for event in events:
                self.pipeline.hub.deliver_local(event)
        # Last, so that a failed poll is repeated.
        self.withholding = False
        self._polled_at = started
        self._seen.update((row.pk, started) for row in rows)
        old = [pk for pk, seen in self._seen.items() if seen < started - OVERLAP_S]
        for pk in old:
            del self._seen[pk]
            self._floor = max(self._floor, pk)

    async def _new_changes(self, floor: int) -> list[RightsChange]:
        """Read the changes above `floor` that no poll has found yet."""
        # Of the ids seen lately, all may be late ones from below the floor.
        newest = max(floor, max(self._seen, default=floor))
        if newest - floor - len(self._seen) > MOST_LATE:
            rows = await database.read_rights(_changes_after, floor, ())
            return [row for row in rows if row.pk not in self._seen]
        late = [pk for pk in range(floor + 1, newest) if pk not in self._seen]
        return await database.read_rights(_changes_after, newest, late)

    async def reauthorize(self, sockets: Iterable[MonitoredSocket]) -> None:
        """Check the rights of these sockets, and apply the decisions.

        Sockets with the same rights and the same subscriptions share a check.
        """
        waiting: dict[AccessCheck, list[MonitoredSocket]] = {}
        for socket in sockets:
            check = AccessCheck(
                socket.viewer,
                None if socket.publisher is None else socket.publisher.pk,
                frozenset(socket.following.values()),
                socket.races,
            )
            waiting.setdefault(check, []).append(socket)
        checks = list(waiting)
        for start in range(0, len(checks), CHECKS_PER_CALL):
            batch = checks[start : start + CHECKS_PER_CALL]
            decisions = await database.read_rights(access.check_access, batch)
            for check, decision in zip(batch, decisions, strict=True):
                for socket in waiting[check]:
                    self._apply_decision(socket, check, decision)

    def _apply_decision(
        self, socket: MonitoredSocket, check: AccessCheck, decision: AccessDecision
    ) -> None:
        if socket in self.sockets:
            try:
                socket.apply_decision(check, decision)
            except Exception:
                # One failing socket must not prevent the others' checks.
                logger.exception("Changed rights could not be applied to a socket")

    async def _notify_followers(self, runners: set[int]) -> None:
        """Send the followers of these runners their new items."""
        followed = [
            (socket, mine)
            for socket in self.sockets
            if (mine := runners.intersection(socket.following.values()))
        ]
        if not followed:
            return
        concerned = set().union(*(mine for _, mine in followed))
        items = await database.read(snapshots.runner_items, concerned, begins={})
        events = {pk: _item_events(pk, item) for pk, item in items.items()}
        for socket, mine in followed:
            # The socket may have unfollowed some of these runners meanwhile.
            for pk in mine.intersection(socket.following.values(), events):
                item, begin = items[pk], socket.outbox.begins[pk]
                if snapshots.oldest_time(item) >= begin:
                    socket.send_events(events[pk])
                else:
                    shown = snapshots.shown_from(item, begin)
                    socket.send_events(_item_events(pk, shown))

    def _erase_soon(self, runner: int) -> None:
        """Discard a runner's erased positions, in a task beside the poll."""
        for socket in list(self.sockets):
            socket.erase(runner)
        self.topics.erase(runner)
        task = asyncio.create_task(self._erase(runner))
        self._erasing.add(task)
        task.add_done_callback(self._erasing.discard)

    async def _erase(self, runner: int) -> None:
        """Delete positions accepted before and committed after the erasure."""
        while True:
            await self.pipeline.recorder.flushed()
            try:
                await database.read(
                    forget_hidden, runner, stored_within=COMMIT_TIMEOUT_S
                )
            except database.DatabaseUnavailable:
                await asyncio.sleep(POLL_S)
            else:
                for socket in list(self.sockets):
                    socket.erase(runner)
                self.topics.erase(runner)
                # They may have been made from the positions deleted here.
                discard_predictions([runner])
                return await self._notify_followers({runner})

    async def close(self) -> None:
        """Stop polling."""
        tasks = (self._task, self._counting)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _item_events(pk: int, item: snapshots.Item) -> list[Frames[Event]]:
    now = now_ms()
    events: list[Event] = [RunnerChanged("changed", item, now)]
    if item["state"]:
        events.append(StatusChanged(pk, item["code"], item["state"], now))
    return [Frames(event) for event in events]


def _changes_after(newest: int, late: Sequence[int]) -> list[RightsChange]:
    """Return the changes after the newest known one, and of the late keys before it."""
    if not late and RightsChange.objects.newest_id() <= newest:
        return []
    rows = RightsChange.objects.filter(Q(pk__gt=newest) | Q(pk__in=late))
    return list(rows.order_by("pk"))
