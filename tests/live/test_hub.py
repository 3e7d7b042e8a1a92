from __future__ import annotations

import asyncio
import random

import pytest

from runners.live.encoding.frames import Frames
from runners.live.events import HUBS, PositionAccepted, RunnerEvent, runner_group
from runners.live.hub import Hub
from runners.live.layer import LocalLayer
from runners.live.outbox import SeedOutbox, TypedOutbox
from runners.units.clock import now_ms
from tests.live.events import accepted
from tests.live.socket_writers import RecordingWriter
from tests.waiting import eventually


class Follower:
    """Records the times of the events that it receives."""

    def __init__(self) -> None:
        self.received: list[int] = []

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        assert type(frames.event) is PositionAccepted
        self.received.append(frames.event.t)


class FailingFollower:
    def receive(self, frames: Frames[RunnerEvent]) -> None:
        raise RuntimeError("a follower that fails")


def runner_groups(layer: LocalLayer) -> dict[str, int]:
    """Count the members of runners' groups; the hub's probes use other groups."""
    return {
        group: len(members)
        for group, members in layer.groups.items()
        if group.startswith("runner.")
    }


async def test_the_hub_joins_a_group_once_for_all_subscribers(
    hub: Hub, layer: LocalLayer
) -> None:
    followers = [Follower() for _ in range(10)]
    for follower in followers:
        await hub.subscribe([1, 2], follower)
    assert runner_groups(layer) == {"runner.1": 1, "runner.2": 1}
    await hub.publish([accepted(1, 5)])
    await eventually(lambda: all(follower.received == [5] for follower in followers))
    for follower in followers:
        hub.unsubscribe([1, 2], follower)
    await eventually(lambda: not runner_groups(layer))
    assert hub.follows == 0


async def test_a_subscription_is_in_force_when_subscribe_returns(
    hub: Hub, layer: LocalLayer
) -> None:
    follower = Follower()
    await hub.subscribe([1], follower)
    await hub.publish([accepted(1, 1)])
    await eventually(lambda: follower.received == [1])
    hub.unsubscribe([1], follower)


async def test_a_hub_with_subscribers_is_notified_of_lost_events(
    hub: Hub, layer: LocalLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[int] = []
    monkeypatch.setattr(hub.loss_detector, "report_loss", lost.append)
    await hub.subscribe([1], Follower())
    assert HUBS in layer.groups
    await hub.publish_loss(5)
    await eventually(lambda: lost == [5])


async def test_a_failing_subscriber_does_not_affect_the_others(
    hub: Hub, layer: LocalLayer
) -> None:
    broken, follower = FailingFollower(), Follower()
    await hub.subscribe([1], broken)
    await hub.subscribe([1], follower)
    for t in (1, 2):
        await hub.publish([accepted(1, t)])
    await eventually(lambda: follower.received == [1, 2])
    hub.unsubscribe([1], broken)
    hub.unsubscribe([1], follower)


async def test_an_older_position_of_a_different_process_is_late(hub: Hub) -> None:
    seed, typed = RecordingWriter(), RecordingWriter()
    seeds, follower = SeedOutbox(seed, hub), TypedOutbox(typed, hub)
    follower.tick = 0
    await hub.subscribe([1], seeds)
    await hub.subscribe([1], follower)
    await hub.publish([accepted(1, 3)])
    await eventually(lambda: len(typed.messages) == 1)
    await hub.publish([accepted(1, 2)])
    await eventually(lambda: len(typed.messages) == 2)
    position, late = typed.messages
    assert [row[1] for row in position["fixes"]] == [3]
    assert (late["type"], late["fixes"]) == ("late", [[2, 48.0, 2.0]])
    assert [message["lng"] for message in seed.messages] == [3]
    hub.unsubscribe([1], seeds)
    hub.unsubscribe([1], follower)


async def test_an_event_of_an_unknown_type_is_ignored(
    hub: Hub, layer: LocalLayer
) -> None:
    follower = Follower()
    await hub.subscribe([1], follower)
    await layer.group_send(runner_group(1), {"type": "from.a.newer.version"})
    await hub.publish([accepted(1, 1)])
    await eventually(lambda: follower.received == [1])
    hub.unsubscribe([1], follower)


class SlowLayer(LocalLayer):
    """A layer whose joins and leaves take random times."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(7)

    async def group_add(self, group: str, channel: str) -> None:
        await self._delay()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._delay()
        await super().group_discard(group, channel)

    async def _delay(self) -> None:
        await asyncio.sleep(self.random.random() * 0.01)


async def test_memberships_follow_the_subscriptions_however_fast_they_change() -> None:
    layer = SlowLayer()
    hub = Hub(layer)
    random_ = random.Random(3)
    followers = [Follower() for _ in range(5)]
    following: set[tuple[int, int]] = set()

    async def change() -> None:
        for _ in range(60):
            follower, runner = random_.randrange(5), random_.randrange(4)
            if random_.random() < 0.5:
                following.add((follower, runner))
                await hub.subscribe([runner], followers[follower])
            else:
                following.discard((follower, runner))
                hub.unsubscribe([runner], followers[follower])
            await asyncio.sleep(random_.random() * 0.004)

    async with asyncio.TaskGroup() as changes:
        for _ in range(4):
            changes.create_task(change())
    wanted = {runner_group(runner) for _, runner in following}
    await eventually(lambda: runner_groups(layer).keys() == wanted)
    await hub.close()
    assert layer.groups == {}


async def test_events_before_a_delayed_join_are_reported_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A subscription does not wait for ever, so its snapshot may precede the join."""
    monkeypatch.setattr("runners.live.hub.JOIN_TIMEOUT_S", 0.001)
    layer = ClosedLayer()
    hub = Hub(layer)
    losses: list[tuple[int, list[int]]] = []
    hub.loss_detector.on_loss = lambda since, runners: losses.append(
        (since, list(runners or ()))
    )
    subscribing_at = now_ms()
    await hub.subscribe([7, 8], Follower())
    subscribed_at = now_ms()
    await eventually(lambda: now_ms() > subscribed_at + 1)
    layer.opened.set()
    await eventually(lambda: losses)
    since, runners = losses[0]
    assert runners == [7, 8]
    assert subscribing_at <= since <= subscribed_at
    await hub.close()


class ClosedLayer(LocalLayer):
    """A layer in which no channel can join a group before `opened` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = asyncio.Event()

    async def group_add(self, group: str, channel: str) -> None:
        await self.opened.wait()
        await super().group_add(group, channel)
