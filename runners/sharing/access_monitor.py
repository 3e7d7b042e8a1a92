"""Rights on open sockets: what changes anywhere is in force here within a second.

Each serving process reads the new rows of `RightsChange` every 300 ms and looks again
at the sockets concerned. What ends by the clock writes no row: a socket says when to
look at it next.
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
from weakref import WeakKeyDictionary

from runners import store
from runners.models import LinkViewers, RightsChange
from runners.positions.pipeline import Pipeline, get_pipeline
from runners.positions.privacy_rules import forget_hidden
from runners.positions.track import Publisher
from runners.sharing import access, snapshots
from runners.sharing.access import AccessCheck, AccessDecision, Viewer
from runners.sharing.hand_splits import splits_by_hand
from runners.sharing.recovery import Backfiller
from runners.sharing.topic_registry import TopicRegistry, get_topics

logger = logging.getLogger(__name__)

# Between looks at the table. Seconds.
POLL = 0.3
# Transactions may commit out of the order of their ids: rows are looked for again for
# this long. Seconds.
OVERLAP = 10.0
# How long the poll may fail before only what anybody may see flows. Seconds.
BLIND = 5.0
# After how long wrong tokens of an address are forgotten. Seconds.
FORGET_WRONG = 900.0
# Addresses kept in mind.
WRONG_KEPT = 10_000
# The longest that an answer to a wrong token waits. Seconds.
SLOWEST = 5.0
# What was stored longer ago than it takes to commit was erased where it was asked for.
RECENTLY = 60.0  # seconds
# How often the viewers of links are counted. Seconds.
COUNT = 5.0
# Verdicts asked for in one call, so that those found first are obeyed at once.
BATCH = 50


class MonitoredSocket(Protocol):
    """A socket as the watch sees it."""

    viewer: Viewer
    publisher: Publisher | None
    # Followed one by one: primary keys by code.
    following: dict[str, int]
    # When something that it stands on ends by the clock. Seconds since the epoch.
    look_again_at: float

    @property
    def races(self) -> frozenset[int]:
        """Followed as wholes: primary keys."""

    def obey_rights(self, check: AccessCheck, decision: AccessDecision) -> None:
        """End what of the question is no longer allowed, and say so."""

    def go_blind(self) -> None:
        """Hold back what not everybody may see."""

    def erase(self, runner: int) -> None:
        """Forget what waits of a runner, whose positions were erased."""

    def tell(self, frames: Sequence[bytes]) -> None:
        """Send what is new of a runner who is followed singly."""


@dataclass
class Changes:
    """What a poll found: keys by kind."""

    runners: set[int] = field(default_factory=set)
    races: set[int] = field(default_factory=set)
    tokens: set[int] = field(default_factory=set)
    links: set[int] = field(default_factory=set)
    users: set[int] = field(default_factory=set)
    splits: set[int] = field(default_factory=set)
    erased: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, rows: Iterable[RightsChange]) -> Changes:
        """Sort rows by their kind."""
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
            # A newer version may know more kinds, in a rolling deploy.
            kinds.get(row.kind, set()).add(row.key)
            if row.erased:
                changes.erased.add(row.key)
        return changes

    def concern(self, holder: MonitoredSocket) -> bool:
        """Tell whether a socket may have lost something."""
        viewer, publisher = holder.viewer, holder.publisher
        return (
            viewer.token in self.tokens
            or viewer.user in self.users
            or not self.links.isdisjoint(viewer.links)
            or not self.runners.isdisjoint(holder.following.values())
            or (publisher is not None and publisher.pk in self.runners)
            or (bool(self.races) and bool(holder.following or viewer.links))
            or (bool(self.races) and not self.races.isdisjoint(holder.races))
        )


class AccessMonitor:
    """Keeps the sockets of one event loop within their rights."""

    def __init__(self, pipeline: Pipeline, topics: TopicRegistry) -> None:
        self.pipeline = pipeline
        self.topics = topics
        self.holders: set[MonitoredSocket] = set()
        # Open sockets by what they count against.
        self.places: Counter[tuple[str, int]] = Counter()
        # Wrong tokens, links and PINs by address: how many, and when the last.
        self._wrong: dict[str, tuple[int, float]] = {}
        # Grows when something has changed: a right that was read at another one may
        # be out of date.
        self.generation = 0
        self._erasing: set[asyncio.Task[None]] = set()
        # Whether the table could not be read for a while.
        self.blind = False
        self._seen: dict[int, float] = {}
        self._floor: int | None = None
        self._looked_at = time.monotonic()
        self.gaps = Backfiller(pipeline.hub)
        self._counting = asyncio.create_task(self._count_viewers())
        self._task = asyncio.create_task(self._poll_often())

    def take_place(self, kind: str, key: int, limit: int) -> bool:
        """Count a socket of a user, token or link; False when there are too many."""
        if self.places[kind, key] >= limit:
            return False
        self.places[kind, key] += 1
        return True

    def give_back(self, places: Iterable[tuple[str, int]]) -> None:
        """Count sockets no longer."""
        for place in places:
            self.places[place] -= 1
            if self.places[place] <= 0:
                del self.places[place]

    async def slow_down(self, address: str) -> None:
        """Make who was wrong wait for the answer, longer with each time.

        Only that answer: a right token from the same address waits for nothing.
        """
        now = time.monotonic()
        count, last = self._wrong.pop(address, (0, now))
        count = 0 if now - last > FORGET_WRONG else count
        self._wrong[address] = (count + 1, now)
        while len(self._wrong) > WRONG_KEPT:
            del self._wrong[next(iter(self._wrong))]
        await asyncio.sleep(penalty(count))

    async def _count_viewers(self) -> None:
        """Say now and then how many sockets stand on each link; asked for by pages."""
        process = uuid.uuid4().hex
        said: dict[int, int] = {}
        while True:
            await asyncio.sleep(COUNT)
            now = {key: n for (kind, key), n in self.places.items() if kind == "link"}
            if not now and not said:
                continue
            try:
                await store.read(LinkViewers.objects.say, process, now)
                said = now
            except store.StoreUnavailable:
                pass  # It, or a link that is gone: what is so in a moment is said then.

    async def _poll_often(self) -> None:
        while True:
            try:
                await self._poll()
            except store.StoreUnavailable:
                if time.monotonic() - self._looked_at > BLIND and not self.blind:
                    logger.warning("Rights cannot be read: only public runners flow")
                    self.blind = True
                    for holder in list(self.holders):
                        holder.go_blind()
            except Exception:
                logger.exception("Looking for changed rights failed")
            await asyncio.sleep(POLL)

    async def _poll(self) -> None:
        started = time.monotonic()
        first = self._floor is None
        if self._floor is None:
            self._floor = await store.read_rights(_last_change)
        rows = [
            row
            for row in await store.read_rights(_changes_after, self._floor)
            if row.pk not in self._seen
        ]
        changes = Changes.of(rows)
        if rows:
            # Whoever read a right before this must look again: see `generation`.
            self.generation += 1
        # At first also what was in use before anybody looked.
        runners = self.pipeline.tracked if first else changes.runners
        if runners or changes.races:
            await self.pipeline.look_again(runners, changes.races)
        now = time.time()
        all_of_them = first or self.blind
        concerned = [
            holder
            for holder in self.holders
            if holder.look_again_at <= now
            or all_of_them
            or (rows and changes.concern(holder))
        ]
        await self.look_at(concerned)
        if first or changes.runners:
            await self.topics.look_for_blocks(None if first else changes.runners)
        if rows:
            await self.topics.look_now(changes.runners)
        if changes.runners:
            await self._tell_of(changes.runners)
        if changes.splits:
            for event in await store.read(splits_by_hand, changes.splits):
                self.pipeline.hub.deliver_local(event)
        for runner in changes.erased:
            self._erase_soon(runner)
        # Only now: what failed on the way is found again by the next poll.
        self.blind = False
        self._looked_at = started
        self._seen.update((row.pk, started) for row in rows)
        old = [pk for pk, seen in self._seen.items() if seen < started - OVERLAP]
        for pk in old:
            del self._seen[pk]
            self._floor = max(self._floor, pk)

    async def look_at(self, holders: Iterable[MonitoredSocket]) -> None:
        """Ask again what these sockets may, and have them obey.

        Sockets that stand on the same and use the same share a question.
        """
        asking: dict[AccessCheck, list[MonitoredSocket]] = {}
        for holder in holders:
            check = AccessCheck(
                holder.viewer,
                None if holder.publisher is None else holder.publisher.pk,
                frozenset(holder.following.values()),
                holder.races,
            )
            asking.setdefault(check, []).append(holder)
        questions = list(asking)
        for start in range(0, len(questions), BATCH):
            batch = questions[start : start + BATCH]
            verdicts = await store.read_rights(access.check_access, batch)
            for check, decision in zip(batch, verdicts, strict=True):
                for holder in asking[check]:
                    self._have_obey(holder, check, decision)

    def _have_obey(
        self, holder: MonitoredSocket, check: AccessCheck, decision: AccessDecision
    ) -> None:
        if holder in self.holders:
            try:
                holder.obey_rights(check, decision)
            except Exception:
                # One socket's trouble must not keep the others their rights.
                logger.exception("A socket failed on its rights")

    async def _tell_of(self, runners: set[int]) -> None:
        """Tell those who follow these runners singly what they are now."""
        followed = [
            (holder, mine)
            for holder in self.holders
            if (mine := runners.intersection(holder.following.values()))
        ]
        if not followed:
            return
        concerned = set().union(*(mine for _, mine in followed))
        items = await store.read(snapshots.runner_items, concerned)
        frames = {pk: [snapshots.runner_frame("changed", i)] for pk, i in items.items()}
        for pk, item in items.items():
            if item["state"]:
                frames[pk].append(snapshots.state_frame(item))
        for holder, mine in followed:
            # Not to those who have lost them meanwhile.
            for pk in mine.intersection(holder.following.values(), frames):
                holder.tell(frames[pk])

    def _erase_soon(self, runner: int) -> None:
        """Forget what this runner erased, beside the poll: it may take its time."""
        for holder in list(self.holders):
            holder.erase(runner)
        self.topics.erase(runner)
        task = asyncio.create_task(self._erase(runner))
        self._erasing.add(task)
        task.add_done_callback(self._erasing.discard)

    async def _erase(self, runner: int) -> None:
        """Delete also what this process had accepted before and committed after."""
        while True:
            await self.pipeline.recorder.flushed()
            try:
                await store.read(forget_hidden, runner, stored_within=RECENTLY)
            except store.StoreUnavailable:
                await asyncio.sleep(POLL)
            else:
                for holder in list(self.holders):
                    holder.erase(runner)
                self.topics.erase(runner)
                return await self._tell_of({runner})

    async def close(self) -> None:
        """Stop watching."""
        tasks = (self._task, self._counting)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self.gaps.close()
        _access_monitors.pop(self.pipeline.hub.loop, None)


def penalty(count: int) -> float:
    """Return how long an answer waits after so many wrong ones. Seconds."""
    # No power of two for who is wrong a thousand times.
    return float(min(0.1 * 2 ** min(count, 10), SLOWEST))


def _last_change() -> int:
    return (
        RightsChange.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    )


def _changes_after(pk: int) -> list[RightsChange]:
    return list(RightsChange.objects.filter(pk__gt=pk).order_by("pk"))


_access_monitors: WeakKeyDictionary[asyncio.AbstractEventLoop, AccessMonitor] = (
    WeakKeyDictionary()
)


def get_access_monitor() -> AccessMonitor:
    """Return the watch of the running event loop, started at the first call."""
    loop = asyncio.get_running_loop()
    monitor = _access_monitors.get(loop)
    if monitor is None:
        monitor = _access_monitors[loop] = AccessMonitor(get_pipeline(), get_topics())
    return monitor
