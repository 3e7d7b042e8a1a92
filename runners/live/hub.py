"""Receives this process's channel-layer events and dispatches them to local sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, cast

from runners.live.age_histogram import AgeHistogram
from runners.live.encoding.frames import Frames
from runners.live.encoding.typed_dialect import HEARTBEAT_S
from runners.live.events import (
    HUBS,
    EventsLost,
    LateFixes,
    LayerEvent,
    PositionAccepted,
    Probe,
    RunnerEvent,
    runner_group,
)
from runners.live.layer import Layer
from runners.live.loss_detector import LossDetector
from runners.live.outbox import SOCKETS_PER_PASS, Flushable, Outbox, SeedOutbox
from runners.units.clock import now_ms

logger = logging.getLogger(__name__)

# How long `subscribe` waits for the layer; after that, joining goes on in the
# background.
JOIN_TIMEOUT_S = 2.0
# How long queued frames may wait while more events arrive, to be written with them. A
# write costs as much as ten deliveries.
MERGE_S = 0.01
# Time between attempts while the layer is unavailable.
RETRY_S = 0.5


class Subscriber(Protocol):
    """Receives the events of runners: an outbox, an audience, cheers or a track."""

    def receive(self, frames: Frames[RunnerEvent]) -> None: ...


class TickQueue:
    """The outboxes and audiences to flush at one tick.

    `since` is the loop time of the first queued event, `at` the loop time of the tick.
    """

    __slots__ = ("at", "since", "flushables")

    def __init__(self, since: float, at: float) -> None:
        self.since = since
        self.at = at
        self.flushables: dict[Flushable, None] = {}


class Membership:
    """A group's wanted state (it has subscribers) and actual state (it is joined)."""

    __slots__ = ("actual", "followers", "newest", "seeds", "task")

    def __init__(self) -> None:
        self.followers: dict[Subscriber, None] = {}
        # Those who are sent every position, with their `queue_position`.
        self.seeds: dict[SeedOutbox, Callable[[Frames[PositionAccepted]], None]] = {}
        self.actual = False
        # Time of the newest position dispatched. Milliseconds.
        self.newest = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def wanted(self) -> bool:
        return bool(self.followers or self.seeds)

    def add(self, follower: Subscriber) -> None:
        if isinstance(follower, SeedOutbox):
            self.seeds[follower] = follower.queue_position
        else:
            self.followers[follower] = None

    def remove(self, follower: Subscriber) -> None:
        if isinstance(follower, SeedOutbox):
            self.seeds.pop(follower, None)
        else:
            self.followers.pop(follower, None)


class Hub:
    """Owns one channel and joins the groups of the runners followed in this process.

    Calls `receive` of the local subscribers for each event, and schedules the writes
    of outboxes: in the next pass of the event loop or at a tick. It belongs to its
    event loop; other threads use `call_soon_threadsafe`.
    """

    def __init__(self, layer: Layer) -> None:
        self.loop = asyncio.get_running_loop()
        self.layer = layer
        self.sockets: set[Outbox] = set()
        self.delivered = 0
        self.merged = 0
        self.latest_begin = 0
        # Ages of delivered positions: the layer's lag and the time in this process.
        self.ages = AgeHistogram()
        self.loss_detector = LossDetector(layer)
        # Loop time since which each socket has been sent a frame.
        self._frames_since = 0.0
        self._lateness = 0.0
        self._recorded = 0
        self._groups: dict[int, Membership] = {}
        self._channel: str | None = None
        self._listening = asyncio.Event()
        self._pump = asyncio.create_task(self._listen())
        self._pulse = asyncio.create_task(self._probe_every_second())
        self._next_pass: dict[Any, object] = {}
        self._next_pass_since = 0.0
        # Whether events have arrived since `_flush_pass` was last called.
        self._more_arrived = False
        self._at_tick: dict[int, TickQueue] = {}

    # Subscriptions

    async def subscribe(self, runners: Iterable[int], follower: Subscriber) -> None:
        """Send the runners' events to the subscriber from now on.

        Returns when this process has joined their groups, or after `JOIN_TIMEOUT`:
        joining goes on in the background while the layer is unavailable.
        """
        joining: set[asyncio.Task[None]] = set()
        for runner in runners:
            membership = self._groups.get(runner)
            if membership is None:
                membership = self._groups[runner] = Membership()
            membership.add(follower)
            if task := self._reconcile(runner, membership):
                joining.add(task)
        if joining:
            await asyncio.wait(joining, timeout=JOIN_TIMEOUT_S)

    def unsubscribe(self, runners: Iterable[int], follower: Subscriber) -> None:
        """Stop sending the runners' events to the subscriber."""
        for runner in runners:
            membership = self._groups.get(runner)
            if membership is not None:
                membership.remove(follower)
                self._reconcile(runner, membership)

    def _reconcile(
        self, runner: int, membership: Membership
    ) -> asyncio.Task[None] | None:
        """Start the task that joins or leaves the group; return None if not needed."""
        if membership.task is None:
            if membership.actual == membership.wanted:
                if not membership.actual:
                    del self._groups[runner]
                return None
            membership.task = asyncio.create_task(self._settle(runner, membership))
        return membership.task

    async def _settle(self, runner: int, membership: Membership) -> None:
        group = runner_group(runner)
        requested_at = now_ms()
        try:
            while membership.actual != membership.wanted:
                try:
                    await self._listening.wait()
                    assert self._channel is not None
                    if membership.wanted:
                        await self.layer.group_add(group, self._channel)
                        membership.actual = True
                        if now_ms() - requested_at > JOIN_TIMEOUT_S * 1000:
                            self.loss_detector.joined_late[runner] = requested_at
                    else:
                        await self.layer.group_discard(group, self._channel)
                        membership.actual = False
                except Exception as error:
                    logger.warning(
                        "Channel-layer group %s could not be joined "
                        "or left; trying again: %r",
                        group,
                        error,
                    )
                    await asyncio.sleep(RETRY_S)
        finally:
            membership.task = None
        # No await since the last check: nobody can have subscribed in between.
        if not membership.wanted:
            del self._groups[runner]

    # Events

    async def publish(self, events: Sequence[RunnerEvent]) -> None:
        """Send events to their runners' groups, in order; raises the layer's errors."""
        await self.layer.group_send_many(
            [(runner_group(event.runner), event) for event in events]
        )

    async def publish_loss(self, since: int) -> None:
        """Make all hubs backfill from a time (ms); raises the layer's errors."""
        await self.layer.group_send_many([(HUBS, EventsLost(since))])

    async def _listen(self) -> None:
        while True:
            try:
                if self._channel is None:
                    channel = await self.layer.new_channel()
                    # Before anybody follows here, as a notice of lost events concerns
                    # those who follow at that time.
                    await self.layer.group_add(HUBS, channel)
                    self._channel = channel
                    self._listening.set()
                await self.layer.listen(self._channel, self._receive)
            except Exception:
                # Includes events that cannot be decoded, as in a rolling deploy.
                logger.exception("The channel layer failed; trying again")
                await asyncio.sleep(RETRY_S)

    def _receive(self, event: LayerEvent) -> None:
        # A newer version may send events that are unknown here.
        if membership := self._groups.get(getattr(event, "runner", -1)):
            self._deliver(membership, Frames(cast(RunnerEvent, event)))
        elif isinstance(event, Probe):
            self.loss_detector.receive_probe(event)
        elif isinstance(event, EventsLost):
            self.loss_detector.report_loss(event.t)

    def _deliver(self, membership: Membership, frames: Frames[RunnerEvent]) -> None:
        event = frames.event
        if type(event) is PositionAccepted:
            if event.t < membership.newest:
                # A different process accepted it before it knew of the newer one.
                fix = (event.t, event.lat, event.lng)
                frames = Frames(LateFixes(event.runner, event.code, [fix]))
            else:
                membership.newest = event.t
                self._queue_for_seeds(
                    membership, cast("Frames[PositionAccepted]", frames)
                )
        for follower in membership.followers:
            try:
                follower.receive(frames)
            except Exception:
                # One failing socket must not end the streams of the others.
                logger.exception("A subscriber failed to handle an event")

    def _queue_for_seeds(
        self, membership: Membership, frames: Frames[PositionAccepted]
    ) -> None:
        if not membership.seeds:
            return
        if frames.event.t < self.latest_begin:
            for seed in membership.seeds:
                seed.receive(frames)
            return
        frames.for_seed()
        self._schedule_pass()
        self._next_pass.update(membership.seeds)
        for queue_position in membership.seeds.values():
            queue_position(frames)

    def deliver_local(self, event: RunnerEvent) -> None:
        """Deliver an event without the layer.

        For events that every process detects on its own, or of a local layer.
        """
        if (membership := self._groups.get(event.runner)) is not None:
            self._deliver(membership, Frames(event))

    def deliver_backfill(
        self, runner: int, late: Frames[LateFixes], newest: PositionAccepted | None
    ) -> None:
        """Deliver events that the layer may have lost to a runner's subscribers.

        `newest` is the runner's newest position if it is among the events. It is
        omitted if a newer one has been dispatched, because a marker never moves back.
        """
        membership = self._groups.get(runner)
        if membership is not None:
            self._deliver(membership, late)
            if newest is not None and newest.t > membership.newest:
                self._deliver(membership, Frames(newest))

    def newest(self, runners: Iterable[int]) -> dict[int, int]:
        """Map runners to the time (milliseconds) of their newest dispatched position.

        It is 0 for runners without one.
        """
        return {
            pk: membership.newest if (membership := self._groups.get(pk)) else 0
            for pk in runners
        }

    # Writing

    def flush_next_pass(self, flushable: Flushable) -> None:
        """Flush an outbox or audience once no more events arrive."""
        self._schedule_pass()
        self._next_pass[flushable] = None

    def _schedule_pass(self) -> None:
        self._more_arrived = True
        if not self._next_pass:
            self._next_pass_since = self.loop.time()
            self.loop.call_soon(self._flush_pass)

    def _flush_pass(self) -> None:
        if self._more_arrived and self.loop.time() < self._next_pass_since + MERGE_S:
            self._more_arrived = False
            self.loop.call_soon(self._flush_pass)
            return
        flushables = list(self._next_pass)
        self._next_pass.clear()
        self._flush(flushables, self._next_pass_since, self._next_pass_since)

    def flush_at_tick(self, flushable: Flushable, tick: int) -> None:
        """Flush an outbox or audience at the next multiple of the tick (ms)."""
        if tick == 0:
            self.flush_next_pass(flushable)
            return
        tick_queue = self._at_tick.get(tick)
        if tick_queue is None:
            now, seconds = self.loop.time(), tick / 1000
            tick_queue = self._at_tick[tick] = TickQueue(
                now, now + seconds - now % seconds
            )
            self.loop.call_at(tick_queue.at, self._flush_tick, tick)
        tick_queue.flushables[flushable] = None

    def _flush_tick(self, tick: int) -> None:
        tick_queue = self._at_tick.pop(tick)
        self._flush(list(tick_queue.flushables), tick_queue.since, tick_queue.at)

    def _flush(
        self, flushables: list[Flushable], since: float, at: float, start: int = 0
    ) -> None:
        """Write a part now and the rest in later passes, to keep the loop free."""
        end = start + SOCKETS_PER_PASS
        for flushable in flushables[start:end]:
            try:
                flushable.flush()
            except Exception:
                logger.exception("Frames could not be written to a socket")
        self.record_pass(since, at)
        if end < len(flushables):
            self.loop.call_soon(self._flush, flushables, since, at, end)

    def record_pass(self, since: float, at: float) -> None:
        """Record the lateness of a pass and the ages of the positions written in it.

        `since`: loop time of the oldest event in it; its age is recorded for all.
        `at`: loop time at which the pass was due.
        """
        now = self.loop.time()
        self._lateness = max(self._lateness, now - at)
        if deliveries := self.delivered - self._recorded:
            self._recorded = self.delivered
            self.ages.add(now - since + self.loss_detector.layer_lag, deliveries)

    def pop_lateness(self) -> float:
        """Return the greatest lateness of a write since the last call. Seconds."""
        lateness, self._lateness = self._lateness, 0.0
        return lateness

    async def _probe_every_second(self) -> None:
        while True:
            due = self.loop.time() + 1
            await asyncio.sleep(1)
            self.loss_detector.record_loop_lag(self.loop.time() - due)
            silent_since = self.loop.time() - HEARTBEAT_S + 1
            try:
                self._send_heartbeats(silent_since)
                if self._channel is not None:
                    await self.loss_detector.check(self._channel)
            except Exception as error:
                logger.warning("The channel layer is unavailable: %r", error)

    def _send_heartbeats(self, silent_since: float) -> None:
        # To look at 15,000 sockets takes 1 to 3 ms.
        if silent_since > self._frames_since:
            sent = [outbox.heartbeat(silent_since) for outbox in list(self.sockets)]
            self._frames_since = min([self.loop.time(), *sent])

    # Life

    @property
    def followed(self) -> list[int]:
        """Return the primary keys of runners with a subscriber in this process."""
        return [pk for pk, m in self._groups.items() if m.wanted]

    @property
    def groups(self) -> int:
        """Count the groups that this process is in, or joins or leaves."""
        return len(self._groups)

    @property
    def follows(self) -> int:
        """Count the pairs of a subscriber and a runner."""
        return sum(len(m.followers) + len(m.seeds) for m in self._groups.values())

    async def close(self) -> None:
        """Leave all groups and stop."""
        for membership in self._groups.values():
            membership.followers.clear()
            membership.seeds.clear()
        tasks = [
            task
            for runner, membership in list(self._groups.items())
            if (task := self._reconcile(runner, membership))
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=JOIN_TIMEOUT_S)
        if self._channel is not None:
            await self.loss_detector.leave_groups(self._channel)
        running = {self._pump, self._pulse}
        while running:
            # redis-py swallows a cancellation that arrives while it connects.
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=1)
