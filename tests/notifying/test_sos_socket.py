"""A call for help over the websocket, and whom it does not reach."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.clients import typed_client
from tests.servers import Server
from tests.waiting import wait_until

SETUP = """
import json
from runners.models import Runner, RunnerToken
from runners.sharing.runner_settings import zone_add
bob = Runner.objects.create(code="bob", name="Bob")
zone_add(runner=bob, name="Home", lat=61.49876, lng=11.49876, radius=5000)
print(RunnerToken.objects.issue(bob, name="phone")[1])
"""
STORED = """
import json
from runners.models import LatestPosition, Position, Sos
calls = Sos.objects.filter(runner__code="bob")
rows = calls.values_list("key", "lat", "battery", "fine_at")
print(json.dumps([
    [[key, lat, battery, fine is not None] for key, lat, battery, fine in rows],
    Position.objects.count() + LatestPosition.objects.count(),
]))
"""
PLACE = {"lat": 61.49876, "lng": 11.49876, "accuracy": 5, "battery": 43}


@pytest.fixture(scope="module")
def token(uvicorn_server: Server) -> str:
    return uvicorn_server.manage("shell", "-v0", "--no-imports", "-c", SETUP).strip()


def sos(key: str, **more: Any) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return {"type": "sos", "id": key, "time": now, **more}


async def test_call_from_a_zone_is_stored_and_no_follower_hears_of_it(
    uvicorn_server: Server, token: str
) -> None:
    url = f"{uvicorn_server.ws_url}/ws/"
    async with typed_client(url) as alice, typed_client(url, token) as bob:
        await alice.say(type="follow", runners=["bob"])
        await alice.hear_type("snapshot")
        fix = {"t": int(time.time() * 1000), **PLACE}
        await bob.say(**sos("one", fix=fix))
        ack = await bob.hear_type("ack")
        assert ack == {"type": "ack", "id": "one", "open": True, "seen": None}
        # The zone of the set-up may still be news to her, the call is not.
        heard = await alice.hear_all(0.3)
        assert all(message["change"] == "changed" for message in heard)
        assert "61.4" not in json.dumps(heard)
        # What is wrong with a place is no reason to lose the call.
        await bob.say(**sos("two", battery=9, fix={"t": 1, "lat": 0, "lng": 0}))
        assert (await bob.hear_type("ack"))["open"] is True
        await bob.say(**sos("one", fine=True))
        assert (await bob.hear_type("ack"))["open"] is False
    calls, positions = json.loads(
        uvicorn_server.manage("shell", "-v0", "--no-imports", "-c", STORED)
    )
    assert sorted(calls) == [["one", 61.49876, 43.0, True], ["two", None, 9.0, False]]
    assert positions == 0


async def test_call_is_passed_on_by_a_server_without_a_lifespan() -> None:
    """Daphne has none: it begins with the first request."""
    passed_on = "from runners.models import News; print(News.objects.get().spread_at)"
    with Server("daphne") as server:
        token = server.manage("shell", "-v0", "--no-imports", "-c", SETUP).strip()
        async with typed_client(f"{server.ws_url}/ws/", token) as bob:
            await bob.say(**sos("six"))
            await bob.hear_type("ack")

        def is_passed_on() -> bool:
            found = server.manage("shell", "-v0", "--no-imports", "-c", passed_on)
            return found.strip() != "None"

        wait_until(is_passed_on)


@pytest.mark.parametrize(
    "wrong",
    [{"id": 7}, {"id": ""}, {"id": "x" * 65}, {"time": "now"}, {"time": None}],
)
async def test_call_without_id_or_time_is_refused(
    uvicorn_server: Server, token: str, wrong: dict[str, Any]
) -> None:
    async with typed_client(f"{uvicorn_server.ws_url}/ws/", token) as bob:
        await bob.say(**(sos("three") | wrong))
        assert (await bob.hear_type("error"))["code"] == "sos.invalid"


async def test_call_needs_a_token(uvicorn_server: Server) -> None:
    async with typed_client(f"{uvicorn_server.ws_url}/ws/") as stranger:
        await stranger.say(**sos("four"))
        assert (await stranger.hear_type("error"))["code"] == "token.required"


async def test_calls_are_bounded(uvicorn_server: Server) -> None:
    # Not Bob, whose calls the other tests count.
    made = uvicorn_server.manage("create_runner", "eve", "--name", "Eve")
    token = json.loads(made)["token"]
    async with typed_client(f"{uvicorn_server.ws_url}/ws/", token) as eve:
        for _ in range(30):
            await eve.say(**sos("five"))
        refused = await eve.hear_until(lambda m: m["type"] == "error")
        assert refused["code"] == "rate.limited" and refused["after"] > 0
