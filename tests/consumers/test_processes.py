"""Several processes that share only Redis and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from runners.models import Runner
from runners.units.clock import now_ms
from tests.background import in_background
from tests.clients import Client, Message, seed_client, typed_client
from tests.factories.people import make_phone
from tests.servers import Server
from tests.services import Postgres, Redis


def has_fixes(message: Message) -> bool:
    """Return whether a message has positions."""
    return bool(message.get("fixes"))


@dataclass
class Pair:
    """Two servers on one Redis and one PostgreSQL database."""

    one: Server
    other: Server
    redis: Redis


@pytest.fixture(scope="module")
def pair(postgres_cluster: Postgres) -> Iterator[Pair]:
    with Redis() as redis:
        env = {
            "DATABASE_URL": postgres_cluster.new_database(),
            "REDIS_URL": redis.url,
            "SPECTATE_OPEN": "1",
        }
        with Server("uvicorn", **env) as one, Server("daphne", **env) as other:
            yield Pair(one, other, redis)


async def test_a_fix_reaches_followers_on_a_different_process(pair: Pair) -> None:
    async with (
        seed_client(pair.other.ws_url) as alice,
        typed_client(pair.other.ws_url) as anne,
        seed_client(pair.one.ws_url) as bob,
    ):
        await alice.send(initialRequest=True, following=[7])
        await anne.send(type="follow", runners=[7], tick=0)
        await anne.receive_type("snapshot")
        await alice.send_raw("?")
        await alice.receive()
        for n in range(20):
            await bob.send(userId=7, lat=n + 0.5, lng=2.35)
        assert [(await alice.receive())["lat"] for _ in range(20)] == [
            n + 0.5 for n in range(20)
        ]
        last = await anne.receive_until(
            lambda m: has_fixes(m) and m["fixes"][-1][2] == 19.5
        )
        assert last["fixes"][0][0] == "7"


async def test_a_cheer_reaches_followers_on_a_different_process(pair: Pair) -> None:
    async with (
        typed_client(pair.other.ws_url) as alice,
        typed_client(pair.one.ws_url) as fan,
    ):
        await alice.send(type="follow", runners=[9])
        await alice.receive_type("snapshot")
        await fan.send(type="cheer", runner=9, text="Go")
        assert (await alice.receive_type("event", "cheer"))["text"] == "Go"


def stored(code: str) -> tuple[int, bool]:
    """Return the number of a runner's positions, and whether `latest` is the newest."""
    runner = Runner.objects.get(code=code)
    newest = runner.positions.latest("recorded_at")
    return runner.positions.count(), newest.recorded_at == runner.latest.recorded_at


async def test_fixes_of_one_runner_from_two_processes_never_move_the_marker_back(
    pair: Pair,
) -> None:
    token = await pair.one.adatabase(make_phone, "two")
    t = now_ms() - 60_000
    async with (
        typed_client(pair.one.ws_url, token) as phone,
        typed_client(pair.other.ws_url, token) as same_phone,
        typed_client(pair.other.ws_url) as alice,
    ):
        await alice.send(type="follow", runners=["two"], tick=0)
        await alice.receive_type("snapshot")
        moved: list[int] = []
        for n, side in enumerate([phone, same_phone, phone, same_phone]):
            # The two processes accept newer fixes in turn.
            fixes = [{"t": t + n * 1000, "lat": 48.0 + n, "lng": 2.0}]
            await side.send(type="publish", fixes=fixes)
            await side.receive_type("ack")
            while t + n * 1000 not in moved:
                frame = await alice.receive_type("positions")
                moved += [row[1] for row in frame["fixes"]]
        late = [t + 500, 10.0, 2.0]
        await same_phone.send(
            type="publish", fixes=[{"t": t + 500, "lat": 10.0, "lng": 2.0}]
        )
        await same_phone.receive_type("ack")
        # What is committed late is sent again: the trail may repeat earlier fixes.
        while late not in (message := await alice.receive_until(has_fixes))["fixes"]:
            if message["type"] == "positions":
                moved += [row[1] for row in message["fixes"]]
        assert moved == sorted(moved)
        assert {*moved} == {t + n * 1000 for n in range(4)}
    count, newest_is_latest = await pair.one.adatabase(stored, "two")
    assert count == 5
    assert newest_is_latest


async def test_spectators_survive_a_restart_of_redis(pair: Pair) -> None:
    async with (
        seed_client(pair.other.ws_url) as alice,
        seed_client(pair.one.ws_url) as bob,
        typed_client(pair.one.ws_url) as fan,
    ):
        for client in (alice, bob):
            await client.send(initialRequest=True, following=[8])
            # The reply to the next message proves that the follow is in force.
            assert await client.received() == []
        await bob.send(userId=8, lat=1, lng=1)
        assert (await alice.receive())["lat"] == 1
        await asyncio.to_thread(pair.redis.kill)
        await bob.send(userId=8, lat=2, lng=1)  # No process can forward this position.
        await fan.send(type="cheer", runner=8, text="Go")
        assert (await fan.receive_type("error"))["code"] == "cheer.lost"
        await asyncio.to_thread(pair.redis.start)
        # Both directions work again for later tests.
        await publish_until_received(bob, alice, lat=3)
        await publish_until_received(alice, bob, lat=4)


async def publish_until_received(
    publisher: Client, follower: Client, lat: float
) -> None:
    """Publish a position until it reaches the follower on a different process."""

    async def publish() -> None:
        while True:
            await publisher.send(userId=8, lat=lat, lng=1)
            await asyncio.sleep(0.2)

    async with in_background(publish()):
        await follower.receive_until(lambda m: m.get("lat") == lat)
