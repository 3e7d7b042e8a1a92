"""A call for help over the websocket, which does not reach followers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from runners.models import LatestPosition, News, Position, Sos
from runners.preferences.runner_settings import zone_add
from tests.clients import Message, typed_client
from tests.factories.people import make_phone, make_runner, make_token
from tests.servers import Server
from tests.waiting import wait_until

POSITION = {"lat": 61.49876, "lng": 11.49876, "accuracy": 5, "battery": 43}


@pytest.fixture(scope="module")
def token(uvicorn_server: Server) -> str:
    """The token of Bob, whose home is a zone."""
    bob = uvicorn_server.database(make_runner, "bob")
    uvicorn_server.database(
        zone_add, runner=bob, name="Home", lat=61.49876, lng=11.49876, radius=5_000
    )
    return uvicorn_server.database(make_token, bob)


def calls_of(code: str) -> list[tuple[str, float | None, float | None, bool]]:
    """Return key, latitude, battery and whether all is well for a runner's calls."""
    calls = Sos.objects.filter(runner__code=code).order_by("key")
    return [(sos.key, sos.lat, sos.battery, sos.fine_at is not None) for sos in calls]


def sos(key: str, **more: Any) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return {"type": "sos", "id": key, "time": now, **more}


async def test_a_call_from_a_zone_is_stored_and_not_sent_to_followers(
    uvicorn_server: Server, token: str
) -> None:
    url = f"{uvicorn_server.ws_url}/ws/"
    async with typed_client(url) as alice, typed_client(url, token) as bob:
        await alice.send(type="follow", runners=["bob"])
        await alice.receive_type("snapshot")
        fix = {"t": int(time.time() * 1000), **POSITION}
        await bob.send(**sos("one", fix=fix))
        ack = await bob.receive_type("ack")
        assert ack == {"type": "ack", "id": "one", "open": True, "seen": None}
        # The fixture's zone may still cause an event, but the call does not.
        received = await alice.received()
        assert all(message["change"] == "changed" for message in received)
        assert "61.4" not in json.dumps(received)
        # A call with an invalid position is accepted.
        await bob.send(**sos("two", battery=9, fix={"t": 1, "lat": 0, "lng": 0}))
        assert (await bob.receive_type("ack"))["open"] is True
        await bob.send(**sos("one", fine=True))
        assert (await bob.receive_type("ack"))["open"] is False
    assert await uvicorn_server.adatabase(calls_of, "bob") == [
        ("one", 61.49876, 43.0, True),
        ("two", None, 9.0, False),
    ]
    assert await uvicorn_server.adatabase(Position.objects.count) == 0
    assert await uvicorn_server.adatabase(LatestPosition.objects.count) == 0


async def test_a_call_is_passed_on_by_a_server_without_a_lifespan() -> None:
    """Daphne has no lifespan: the services start with its reactor."""
    with Server("daphne") as server:
        token = await server.adatabase(make_phone, "bob")
        async with typed_client(f"{server.ws_url}/ws/", token) as bob:
            await bob.send(**sos("six"))
            await bob.receive_type("ack")
        passed_on = News.objects.filter(spread_at__isnull=False)
        await asyncio.to_thread(wait_until, lambda: server.database(passed_on.exists))


@pytest.mark.parametrize(
    "wrong",
    [{"id": 7}, {"id": ""}, {"id": "x" * 65}, {"time": "now"}, {"time": None}],
)
async def test_a_call_without_id_or_time_is_refused(
    uvicorn_server: Server, token: str, wrong: dict[str, Any]
) -> None:
    async with typed_client(f"{uvicorn_server.ws_url}/ws/", token) as bob:
        await bob.send(**(sos("three") | wrong))
        assert (await bob.receive_type("error"))["code"] == "sos.invalid"


async def test_a_call_needs_a_token(uvicorn_server: Server) -> None:
    async with typed_client(f"{uvicorn_server.ws_url}/ws/") as stranger:
        await stranger.send(**sos("four"))
        assert (await stranger.receive_type("error"))["code"] == "token.required"


async def test_the_rate_of_calls_is_limited(uvicorn_server: Server) -> None:
    # A runner other than Bob, whose calls other tests count.
    token = await uvicorn_server.adatabase(make_phone, "eve")
    async with typed_client(f"{uvicorn_server.ws_url}/ws/", token) as eve:
        refused: list[Message] = []
        # A slow server needs more calls, because one per second is allowed.
        while not refused:
            for _ in range(30):
                await eve.send(**sos("five"))
            refused = [m for m in await eve.received() if m["type"] == "error"]
        assert refused[0]["code"] == "rate.limited" and refused[0]["after"] > 0
