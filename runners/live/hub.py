"""The process's one ear on the channel layer, and its hands to the outboxes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer

from runners.live.age_histogram import AgeHistogram
from runners.live.dialects.v1 import HEARTBEAT
from runners.live.groups import BEAT, GAP, POSITION, RunnerEvent, runner_group
from runners.live.layer import Layer
from runners.live.loss_detector import LossDetector
from runners.live.outbox import SOCKETS_A_PASS, Outbox, now_ms

logger = logging.getLogger(__name__)

# How long events at hand are handed out before other tasks get their turn. Less, and
# a hundred publishers would queue a hundred for each fifty. Seconds.
TURN = 0.02
# Events between two looks at the clock.
EVENTS_A_LOOK = 50
# How long a follow waits for the layer before it goes on and joins later. Seconds.
JOIN_TIMEOUT = 2.0
# Between attempts while the layer is away. Seconds.
RETRY = 0.5


class Follower(Protocol):
    """Takes the events of the runners it follows: an outbox, an audience, a track."""

    def receive(self, event: RunnerEvent) -> None: ...


class Writer(Protocol):
    """Is written when the hub says so."""

    def flush(self) -> None: ...


class Due:
    """Writers to flush at a tick. Loop times: when the first had something, and the
    tick itself."""

    __slots__ = ("at", "since", "writers")

    def __init__(self, since: float, at: float) -> None:
        self.since = since
        self.at = at
        self.writers: dict[Writer, None] = {}


class Membership:
    """A group as wanted (it has followers) and as it is (the channel is in it)."""

    __slots__ = ("actual", "followers", "newest", "task")

    def __init__(self) -> None:
        self.followers: dict[Follower, None] = {}
        self.actual = False
        # Time of the newest position handed out. Milliseconds.
        self.newest = 0
        self.task: asyncio.Task[None] | None = None


class Hub:
    """Owns one channel, joins the groups of the runners followed in this process.

    For each event it calls `receive` of the local followers, and it decides when
    outboxes are written: in the next pass of the loop or at a tick. Belongs to its
    event loop; other threads reach it by `call_soon_threadsafe`.
    """

    def __init__(self, layer: Layer) -> None:
        self.loop = asyncio.get_running_loop()
        self.layer = layer
        self.sockets: set[Outbox] = set()
        self.delivered = 0
        self.merged = 0
        # Of what is delivered: from here to the socket, and through the layer before.
        self.ages = AgeHistogram()
        self.losses = LossDetector(layer)
        self._lateness = 0.0
        self._noted = 0
        self._groups: dict[int, Membership] = {}
        self._channel: str | None = None
        self._listening = asyncio.Event()
        self._pump = asyncio.create_task(self._listen())
        self._pulse = asyncio.create_task(self._beat())
        self._next_pass: list[Writer] = []
        self._next_pass_since = 0.0
        self._at_tick: dict[int, Due] = {}

    # Following

    async def follow(self, runners: Iterable[int], follower: Follower) -> None:
        """Hand the runners' events to the follower from now on.

        Returns when this process has joined their groups, or after `JOIN_TIMEOUT`:
        joining goes on in the background while the layer is away.
        """
        joining: set[asyncio.Task[None]] = set()
        for runner in runners:
            membership = self._groups.get(runner)
            if membership is None:
                membership = self._groups[runner] = Membership()
            membership.followers[follower] = None
            if task := self._reconcile(runner, membership):
                joining.add(task)
        if joining:
            await asyncio.wait(joining, timeout=JOIN_TIMEOUT)

    def unfollow(self, runners: Iterable[int], follower: Follower) -> None:
        """Hand the runners' events to the follower no longer."""
        for runner in runners:
            membership = self._groups.get(runner)
            if membership is not None:
                membership.followers.pop(follower, None)
                self._reconcile(runner, membership)

    def _reconcile(
        self, runner: int, membership: Membership
    ) -> asyncio.Task[None] | None:
        """Start what makes the group as wanted; None where nothing is to do."""
        if membership.task is None:
            if membership.actual == bool(membership.followers):
                if not membership.actual:
                    del self._groups[runner]
                return None
            membership.task = asyncio.create_task(self._settle(runner, membership))
        return membership.task

    async def _settle(self, runner: int, membership: Membership) -> None:
        group = runner_group(runner)
        asked_at = now_ms()
        try:
            while membership.actual != bool(membership.followers):
                try:
                    await self._listening.wait()
                    assert self._channel is not None
                    if membership.followers:
                        await self.layer.group_add(group, self._channel)
                        membership.actual = True
                        if now_ms() - asked_at > JOIN_TIMEOUT * 1000:
                            self.losses.joined_late[runner] = asked_at
                    else:
                        await self.layer.group_discard(group, self._channel)
                        membership.actual = False
                except Exception as error:
                    logger.warning("Group %s will be tried again: %r", group, error)
                    await asyncio.sleep(RETRY)
        finally:
            membership.task = None
        # No await since the last look: nobody came in between.
        if not membership.followers:
            del self._groups[runner]

    # Events

    async def _listen(self) -> None:
        while True:
            try:
                if self._channel is None:
                    self._channel = await self.layer.new_channel()
                    self._listening.set()
                await self._hand_out(self._channel)
            except Exception:
                # Also an event that cannot be read, as in a rolling deploy.
                logger.exception("The channel layer failed, trying again")
                await asyncio.sleep(RETRY)

    async def _hand_out(self, channel: str) -> None:
        receive = self.layer.receive
        groups = self._groups
        turn_ends = 0.0
        while True:
            for _ in range(EVENTS_A_LOOK):
                event: RunnerEvent = await receive(channel)
                membership = groups.get(event.get("runner", -1))
                if membership is not None:
                    self._give(membership, event)
                elif event["type"] == BEAT:
                    self.losses.hear(event)
                elif event["type"] == GAP:
                    self.losses.lose_since(event["t"])
            if self.loop.time() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = self.loop.time() + TURN

    def _give(self, membership: Membership, event: RunnerEvent) -> None:
        if event["type"] == POSITION and event["t"] > membership.newest:
            membership.newest = event["t"]
        for follower in membership.followers:
            try:
                follower.receive(event)
            except Exception:
                # One socket's trouble must not end the others' streams.
                logger.exception("A follower failed on an event")

    def give(self, event: RunnerEvent) -> None:
        """Give the followers here an event that each process finds for itself."""
        if (membership := self._groups.get(event["runner"])) is not None:
            self._give(membership, event)

    def replay(self, late: RunnerEvent, newest: RunnerEvent) -> None:
        """Give the followers of a runner what the layer may have lost.

        `newest` moves the marker only if nothing newer has been handed out.
        """
        membership = self._groups.get(late["runner"])
        if membership is not None:
            self._give(membership, late)
            if newest["t"] > membership.newest:
                self._give(membership, newest)

    def newest(self, runners: Iterable[int]) -> dict[int, int]:
        """Return the times of the newest positions handed out, 0 for none."""
        return {
            pk: membership.newest if (membership := self._groups.get(pk)) else 0
            for pk in runners
        }

    # Writing

    def write_next_pass(self, writer: Writer) -> None:
        """Flush the writer once the events at hand have been given out."""
        if not self._next_pass:
            self._next_pass_since = self.loop.time()
            self.loop.call_soon(self._write_pass)
        self._next_pass.append(writer)

    def _write_pass(self) -> None:
        writers, self._next_pass = self._next_pass, []
        self._flush(writers, self._next_pass_since, self._next_pass_since)

    def write_at_tick(self, writer: Writer, tick: int) -> None:
        """Flush the writer at the next whole multiple of the tick (milliseconds)."""
        if tick == 0:
            self.write_next_pass(writer)
            return
        due = self._at_tick.get(tick)
        if due is None:
            now, seconds = self.loop.time(), tick / 1000
            due = self._at_tick[tick] = Due(now, now + seconds - now % seconds)
            self.loop.call_at(due.at, self._write_tick, tick)
        due.writers[writer] = None

    def _write_tick(self, tick: int) -> None:
        due = self._at_tick.pop(tick)
        self._flush(list(due.writers), due.since, due.at)

    def _flush(
        self, writers: list[Writer], since: float, at: float, start: int = 0
    ) -> None:
        """Write some now and the rest in later passes, so that the loop stays free."""
        end = start + SOCKETS_A_PASS
        for writer in writers[start:end]:
            try:
                writer.flush()
            except Exception:
                logger.exception("A socket could not be written")
        self.note_pass(since, at)
        if end < len(writers):
            self.loop.call_soon(self._flush, writers, since, at, end)

    def note_pass(self, since: float, at: float) -> None:
        """Note that a pass is written: of what came since a loop time, due at another.

        Takes the age of the oldest for that of all.
        """
        now = self.loop.time()
        self._lateness = max(self._lateness, now - at)
        if deliveries := self.delivered - self._noted:
            self._noted = self.delivered
            self.ages.add(now - since + self.losses.layer_lag, deliveries)

    def take_lateness(self) -> float:
        """Return how late, at most, writing was since this was asked last. Seconds."""
        lateness, self._lateness = self._lateness, 0.0
        return lateness

    async def _beat(self) -> None:
        while True:
            due = self.loop.time() + 1
            await asyncio.sleep(1)
            self.losses.note_own_lag(self.loop.time() - due)
            silent_since = self.loop.time() - HEARTBEAT + 1
            try:
                for outbox in list(self.sockets):
                    outbox.heartbeat(silent_since)
                if self._channel is not None:
                    await self.losses.look(self._channel)
            except Exception as error:
                logger.warning("The channel layer is away: %r", error)

    # Life

    @property
    def followed(self) -> list[int]:
        """Return the runners who have a follower in this process."""
        return [pk for pk, m in self._groups.items() if m.followers]

    @property
    def groups(self) -> int:
        """Count the groups that this process is in, or is joining or leaving."""
        return len(self._groups)

    @property
    def follows(self) -> int:
        """Count the pairs of a follower and a runner."""
        return sum(len(m.followers) for m in self._groups.values())

    async def close(self) -> None:
        """Leave all groups and stop."""
        for membership in self._groups.values():
            membership.followers.clear()
        tasks = [
            task
            for runner, membership in list(self._groups.items())
            if (task := self._reconcile(runner, membership))
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=JOIN_TIMEOUT)
        if self._channel is not None:
            await self.losses.leave(self._channel)
        running = {self._pump, self._pulse}
        while running:
            # redis-py loses a cancellation that comes while it connects.
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=1)
        _hubs.pop(self.loop, None)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """Return the hub of the running event loop, started at the first call."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = Hub(get_channel_layer())
    return hub
