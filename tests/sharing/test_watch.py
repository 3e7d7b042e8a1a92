"""Parts of the watch over rights that are hard to reach from outside."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator

import pytest
from channels.layers import channel_layers
from django.utils import timezone

from runners import store
from runners.live.layer import LocalLayer
from runners.live.relay import get_relay
from runners.models import LatestPosition, Runner
from runners.positions.accept import get_acceptor
from runners.sharing import rights
from runners.sharing.rights import Watch, get_watch
from runners.sharing.roster import Roster, Whole
from tests.servers import Server


@pytest.fixture
async def watch(transactional_db: None) -> AsyncIterator[Watch]:
    channel_layers.set("default", LocalLayer())
    watch = get_watch()
    yield watch
    await watch.close()
    await get_acceptor().close()
    await get_relay().close()
    store.close_connections()


def test_who_is_wrong_a_thousand_times_still_only_waits() -> None:
    waits = [rights.penalty(count) for count in range(2000)]
    assert waits == sorted(waits)
    assert waits[0] == 0.1
    assert waits[-1] == rights.SLOWEST


def seen(code: str) -> Runner:
    """Somebody public who was seen just now."""
    runner = Runner.objects.create(code=code, name=code)
    now = timezone.now()
    LatestPosition.objects.create(
        runner=runner, recorded_at=now, contact_at=now, lat=48, lng=2, source="test"
    )
    return runner


async def test_one_who_goes_while_another_comes_is_noticed(watch: Watch) -> None:
    anne = await asyncio.to_thread(seen, "anne")
    roster = Roster(Whole(), watch.acceptor.relay, {})
    await roster._loaded

    def swap() -> None:
        seen("bob")
        # Without `save`, and so without a new time of change.
        Runner.objects.filter(pk=anne.pk).update(visibility="private")

    await asyncio.to_thread(swap)
    await roster.look()
    assert [item["code"] for item in roster.items.values()] == ["bob"]
    roster.close()
    await asyncio.to_thread(store.close_connections)


def test_a_pause_binds_a_phone_where_nobody_has_opened_a_socket() -> None:
    """The poll for changed rights must not wait for the first spectator."""
    with Server("uvicorn") as server:
        made = json.loads(server.manage("create_runner", "bob", "--name", "Bob"))
        address = f"{server.url}/intake/generic/{made['token']}/?lat=48.1&lng=2.1"

        def send() -> object:
            with urllib.request.urlopen(address) as answer:
                return json.load(answer)

        assert send() == {"stored": 1, "rejected": []}
        # Starting the shell takes longer than the poll.
        server.manage(
            "shell",
            "-v0",
            "-c",
            "import time; from runners.models import Runner;"
            "from runners.sharing.own import sharing_pause;"
            "sharing_pause(runner=Runner.objects.get(code='bob')); time.sleep(1)",
        )
        refused = send()
        assert isinstance(refused, dict)
        assert refused["stored"] == 0
        assert refused["rejected"][0][1] == "sharing.paused"
