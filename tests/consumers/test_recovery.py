"""Recovery: clients that were away receive what they missed, on any process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from runners.units.clock import now_ms
from tests.clients import Client, typed_client
from tests.factories.people import make_phone
from tests.servers import Server
from tests.services import Redis


async def publish(phone: Client, *times: int) -> None:
    fixes = [{"t": t, "lat": 48 + t % 1000 / 1e4, "lng": 2.0} for t in times]
    await phone.send(type="publish", fixes=fixes)
    await phone.receive_type("ack")


@pytest.fixture(scope="module")
def pair(postgres_cluster: Any) -> Iterator[tuple[Server, Server, Redis]]:
    with Redis() as redis:
        env = {
            "DATABASE_URL": postgres_cluster.new_database(),
            "REDIS_URL": redis.url,
        }
        with Server("uvicorn", **env) as one, Server("uvicorn", **env) as other:
            yield one, other, redis


@pytest.mark.parametrize(
    ("code", "follow"), [("alone", {"runners": ["alone"]}), ("among", {"public": True})]
)
async def test_since_returns_fixes_stored_meanwhile_by_a_different_process(
    pair: tuple[Server, Server, Redis], code: str, follow: dict[str, Any]
) -> None:
    one, other, _ = pair
    token = await one.adatabase(make_phone, code)
    t = now_ms()
    async with typed_client(one.ws_url, token) as phone:
        await publish(phone, t)
        async with typed_client(one.ws_url) as alice:
            await alice.send(type="follow", tick=0, **follow)
            last = (await alice.receive_type("snapshot"))["time"]
        missed = [t + n for n in range(1, 200)]
        await publish(phone, *missed)
        async with typed_client(other.ws_url) as alice:
            await alice.send(type="follow", tick=0, since=last, id=1, **follow)
            snapshot = await alice.receive_type("snapshot")
            assert code not in snapshot["truncated"]
            runner = next(r for r in snapshot["runners"] if r["code"] == code)
            assert runner["fix"][0] == missed[-1]
            # Runners of other tests are public too.
            while (late := await alice.receive_type("late"))["runner"] != code:
                pass
            assert {fix[0] for fix in late["fixes"]} >= set(missed)


async def test_a_gap_that_is_too_long_is_reported_as_truncated(
    pair: tuple[Server, Server, Redis],
) -> None:
    one, _, _ = pair
    token = await one.adatabase(make_phone, "long")
    t = now_ms()
    async with typed_client(one.ws_url, token) as phone:
        for part in range(3):
            await publish(phone, *(t - part * 500 - n for n in range(500)))
    async with typed_client(one.ws_url) as alice:
        await alice.send(type="follow", runners=["long"], since=t)
        snapshot = await alice.receive_type("snapshot")
        assert snapshot["truncated"] == ["long"]


@pytest.mark.parametrize("since", ["x", -1, 1.5, True, 2**60, [1]])
async def test_an_invalid_since_is_an_error(
    pair: tuple[Server, Server, Redis], since: Any
) -> None:
    async with typed_client(pair[0].ws_url) as alice:
        await alice.send(type="follow", public=True, since=since)
        assert (await alice.receive())["code"] == "message.invalid"


async def test_fixes_sent_while_redis_is_away_arrive_after_it_is_back(
    pair: tuple[Server, Server, Redis],
) -> None:
    one, other, redis = pair
    token = await one.adatabase(make_phone, "redis")
    t = now_ms()
    async with (
        typed_client(one.ws_url, token) as phone,
        typed_client(other.ws_url) as alice,
    ):
        await publish(phone, t)
        await alice.send(type="follow", runners=["redis"], tick=0)
        await alice.receive_type("snapshot")
        await asyncio.to_thread(redis.kill)
        for n in range(1, 4):
            await publish(phone, t + n)
        await asyncio.to_thread(redis.start)
        received: set[int] = set()
        while not received >= {t + n for n in range(1, 4)}:
            message = await alice.receive()
            if message["type"] == "late":
                received |= {fix[0] for fix in message["fixes"]}
            newest = [
                row[1]
                for row in message.get("fixes", [])
                if message["type"] == "positions"
            ]
            received |= set(newest)
