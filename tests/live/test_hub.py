from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from runners.live.groups import POSITION, RunnerEvent, runner_group
from runners.live.hub import Hub
from runners.live.layer import LocalLayer
from runners.live.outbox import now_ms
from tests.waiting import eventually


class Ear:
    """A follower that notes the times of what it hears."""

    def __init__(self) -> None:
        self.received: list[int] = []

    def receive(self, event: RunnerEvent) -> None:
        self.received.append(event["t"])


class BrokenEar:
    def receive(self, event: RunnerEvent) -> None:
        raise RuntimeError("a follower that fails")


def runner_groups(layer: LocalLayer) -> dict[str, int]:
    """Count the members of each runner's group; once a second a hub joins others."""
    return {
        group: len(members)
        for group, members in layer.groups.items()
        if group.startswith("runner.")
    }


def event(runner: int, t: int) -> dict[str, Any]:
    return {
        "type": POSITION,
        "runner": runner,
        "t": t,
        "seed": b"",
        "v1": b"",
        "state": {},
    }


async def test_relay_joins_a_group_once_however_many_follow(
    hub: Hub, layer: LocalLayer
) -> None:
    ears = [Ear() for _ in range(10)]
    for ear in ears:
        await hub.subscribe([1, 2], ear)
    assert runner_groups(layer) == {"runner.1": 1, "runner.2": 1}
    await layer.group_send(runner_group(1), event(1, 5))
    await eventually(lambda: all(ear.received == [5] for ear in ears))
    for ear in ears:
        hub.unsubscribe([1, 2], ear)
    await eventually(lambda: not runner_groups(layer))
    assert hub.follows == 0


async def test_a_follow_is_in_force_when_it_returns(
    hub: Hub, layer: LocalLayer
) -> None:
    ear = Ear()
    await hub.subscribe([1], ear)
    await layer.group_send(runner_group(1), event(1, 1))
    await eventually(lambda: ear.received == [1])
    hub.unsubscribe([1], ear)


async def test_a_follower_that_fails_does_not_end_the_others_stream(
    hub: Hub, layer: LocalLayer
) -> None:
    broken, ear = BrokenEar(), Ear()
    await hub.subscribe([1], broken)
    await hub.subscribe([1], ear)
    for t in (1, 2):
        await layer.group_send(runner_group(1), event(1, t))
    await eventually(lambda: ear.received == [1, 2])
    hub.unsubscribe([1], broken)
    hub.unsubscribe([1], ear)


async def test_an_event_of_an_unknown_kind_is_passed_over(
    hub: Hub, layer: LocalLayer
) -> None:
    ear = Ear()
    await hub.subscribe([1], ear)
    await layer.group_send(runner_group(1), {"type": "from.a.newer.version"})
    await layer.group_send(runner_group(1), event(1, 1))
    await eventually(lambda: ear.received == [1])
    hub.unsubscribe([1], ear)


class SlowLayer(LocalLayer):
    """A layer whose memberships take their time, and now and then fail."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(7)

    async def group_add(self, group: str, channel: str) -> None:
        await self._dawdle()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._dawdle()
        await super().group_discard(group, channel)

    async def _dawdle(self) -> None:
        await asyncio.sleep(self.random.random() * 0.01)


async def test_membership_follows_what_is_wanted_however_fast_it_changes() -> None:
    layer = SlowLayer()
    hub = Hub(layer)
    dice = random.Random(3)
    ears = [Ear() for _ in range(5)]
    following: set[tuple[int, int]] = set()

    async def change() -> None:
        for _ in range(60):
            ear, runner = dice.randrange(5), dice.randrange(4)
            if dice.random() < 0.5:
                following.add((ear, runner))
                await hub.subscribe([runner], ears[ear])
            else:
                following.discard((ear, runner))
                hub.unsubscribe([runner], ears[ear])
            await asyncio.sleep(dice.random() * 0.004)

    async with asyncio.TaskGroup() as changes:
        for _ in range(4):
            changes.create_task(change())
    wanted = {runner_group(runner) for _, runner in following}
    await eventually(lambda: runner_groups(layer).keys() == wanted)
    await hub.close()
    assert layer.groups == {}


async def test_what_a_late_join_missed_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A follow does not wait for ever; its snapshot may be from before the join."""
    monkeypatch.setattr("runners.live.hub.JOIN_TIMEOUT_S", 0.001)
    layer = ClosedLayer()
    hub = Hub(layer)
    gaps: list[tuple[int, list[int]]] = []
    hub.loss_detector.on_loss = lambda since, runners: gaps.append(
        (since, list(runners or ()))
    )
    asked_at = now_ms()
    await hub.subscribe([7, 8], Ear())
    gave_up_at = now_ms()
    await eventually(lambda: now_ms() > gave_up_at + 1)
    layer.opened.set()
    await eventually(lambda: gaps)
    since, runners = gaps[0]
    assert runners == [7, 8]
    assert asked_at <= since <= gave_up_at
    await hub.close()


class ClosedLayer(LocalLayer):
    """A layer that lets nobody join a group until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = asyncio.Event()

    async def group_add(self, group: str, channel: str) -> None:
        await self.opened.wait()
        await super().group_add(group, channel)
