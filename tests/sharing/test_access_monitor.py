"""Parts of the access monitor that are hard to reach from outside."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.request
from typing import Any
from unittest.mock import Mock

import pytest
from channels.db import database_sync_to_async
from django.utils import timezone

from runners.models import Pause, RightsChange, Runner
from runners.positions.fix import Fix
from runners.positions.pipeline import Receipt
from runners.positions.track import Publisher
from runners.preferences.runner_settings import sharing_pause, visibility_set
from runners.races import predictions
from runners.rights.access import Viewer
from runners.rights.token_lookup import find_token
from runners.serving.process import Process
from runners.subscriptions import access_monitor
from runners.subscriptions.access_monitor import AccessMonitor, Changes
from runners.subscriptions.topic import Topic, TopicName
from runners.units.clock import now_ms
from tests.factories.people import make_runner, make_token
from tests.servers import Server
from tests.sharing.live_bob import make_located_runner
from tests.waiting import PATIENCE_S, POLL_S, eventually, wait_until


@pytest.fixture
def monitor(process: Process) -> AccessMonitor:
    return process.access_monitor


async def test_a_change_is_in_force_after_the_next_poll(monitor: AccessMonitor) -> None:
    # There are several polls per second.
    assert access_monitor.POLL_S <= 0.3
    monitor._task.cancel()
    await asyncio.wait([monitor._task])
    bob = await database_sync_to_async(make_located_runner)("bob")
    await monitor._poll()
    socket = Mock(
        viewer=Viewer(),
        publisher=None,
        following={"bob": bob.pk},
        races=frozenset(),
    )
    socket.outbox.begins = {bob.pk: 0}
    monitor.sockets.add(socket)
    # Without changes, a poll reads nothing of sockets whose rights have no end: a time
    # cannot be compared with this mock's `recheck_at`.
    await monitor._poll()
    socket.apply_decision.assert_not_called()
    socket.recheck_at = math.inf
    await database_sync_to_async(visibility_set)(runner=bob, visibility="private")
    await monitor._poll()
    ((_, decision), _) = socket.apply_decision.call_args
    assert decision.lost == {bob.pk: "private"}
    socket.apply_decision.reset_mock()
    # After an outage, all may see private runners again.
    monitor.withholding = True
    await monitor._poll()
    socket.apply_decision.assert_called_once()


async def test_a_poll_finds_one_runner_leaving_and_a_different_one_joining(
    monitor: AccessMonitor,
) -> None:
    anne = await database_sync_to_async(make_located_runner)("anne")
    pipeline = monitor.pipeline
    topic = Topic(TopicName(), pipeline.hub, {})
    await topic._loaded

    def swap() -> None:
        make_located_runner("bob")
        # `save` would set a new time of change.
        Runner.objects.filter(pk=anne.pk).update(visibility="private")

    await database_sync_to_async(swap)()
    await topic.refresh()
    assert [item["code"] for item in topic.members.items.values()] == ["bob"]
    topic.close()


async def test_a_change_that_is_committed_after_a_later_one_is_in_force(
    monitor: AccessMonitor,
) -> None:
    bob = await Runner.objects.acreate(code="bob", name="Bob")
    publisher = Publisher(bob.pk, bob.code)

    async def publish() -> Receipt:
        fix = Fix(now_ms(), 48.0, 2.0)
        return await monitor.pipeline.accept(publisher, [fix], source="x")

    def record(pk: int, key: int) -> None:
        RightsChange.objects.create(pk=pk, kind=RightsChange.Kind.RUNNER, key=key)

    assert (await publish()).accepted == 1
    generation = monitor.generation
    await database_sync_to_async(record)(1_001, bob.pk + 1)
    await eventually(lambda: monitor.generation > generation)
    # Inserted without the row that this records, because its transaction had the lower
    # number.
    pause = Pause(runner=bob, started_at=timezone.now())
    await Pause.objects.abulk_create([pause])
    await database_sync_to_async(record)(1_000, bob.pk)
    await eventually(lambda: monitor.generation > generation + 1)
    async with asyncio.timeout(PATIENCE_S):
        while not (receipt := await publish()).rejected:
            await asyncio.sleep(POLL_S)
    assert receipt.rejected[0][1] == "sharing.paused"


async def test_a_change_is_read_by_one_poll(
    monitor: AccessMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor._task.cancel()
    await asyncio.wait([monitor._task])
    await monitor._poll()
    found: list[int] = []
    changes_after = access_monitor._changes_after

    def note(*args: Any) -> list[RightsChange]:
        rows = changes_after(*args)
        found.extend(row.key for row in rows)
        return rows

    monkeypatch.setattr(access_monitor, "_changes_after", note)
    for keys in ([101, 102], [103]):
        await database_sync_to_async(RightsChange.objects.note)("split", keys)
        await monitor._poll()
    assert found == [101, 102, 103]


async def test_changes_are_read_once_even_if_only_a_late_id_was_seen_lately(
    monitor: AccessMonitor,
) -> None:
    monitor._task.cancel()
    await asyncio.wait([monitor._task])
    await database_sync_to_async(RightsChange.objects.note)("split", [101, 102, 103])
    newest = await RightsChange.objects.order_by("pk").alast()
    assert newest is not None
    # The others were seen so long ago that they are below the floor.
    monitor._seen = {newest.pk - 2: 0.0}
    assert await monitor._new_changes(newest.pk) == []


async def test_a_change_is_read_once_even_if_many_ids_before_it_are_missing(
    monitor: AccessMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_monitor, "MOST_LATE", 10)
    monitor._task.cancel()
    await asyncio.wait([monitor._task])
    await monitor._poll()
    found: list[int] = []

    def note(rows: list[RightsChange]) -> Changes:
        found.extend(row.pk for row in rows)
        return Changes()

    monkeypatch.setattr(Changes, "of", note)
    # A long transaction has reserved the ids before the first one.
    for pk in (1_000, 5, 6, 1_001):
        await RightsChange.objects.acreate(pk=pk, kind="split", key=1)
        await monitor._poll()
    assert found == [1_000, 5, 6, 1_001]


async def test_predictions_from_positions_that_are_erased_late_are_discarded(
    monitor: AccessMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(pk: int, stored_within: float) -> None:
        predictions._kept[1, timezone.now(), pk] = Mock()

    monkeypatch.setattr(access_monitor, "forget_hidden", forget)
    await monitor._erase(1)
    assert predictions._kept == {}


@pytest.mark.django_db
def test_the_use_of_a_token_is_no_change_of_rights() -> None:
    token = make_token(make_runner("bob"))
    changes = RightsChange.objects.count()
    assert find_token(token) is not None
    assert RightsChange.objects.count() == changes


def test_a_pause_applies_to_a_phone_on_a_process_without_sockets() -> None:
    """The poll for changed rights must not wait for the first spectator."""
    with Server("uvicorn") as server:
        bob = server.database(make_runner, "bob")
        token = server.database(make_token, bob)
        address = f"{server.url}/intake/generic/{token}/?lat=48.1&lng=2.1"

        def send() -> dict[str, Any]:
            with urllib.request.urlopen(address) as answer:
                reply: dict[str, Any] = json.load(answer)
                return reply

        assert send() == {"stored": 1, "rejected": []}
        server.database(sharing_pause, runner=bob)
        wait_until(lambda: send()["stored"] == 0)
        assert send()["rejected"][0][1] == "sharing.paused"
