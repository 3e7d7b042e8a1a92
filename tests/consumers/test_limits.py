"""Limits, each with an answer of its own; small ones here, to reach them soon."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.typing import Subprotocol

from tests.clients import seed_client, typed_client
from tests.scenes.people import make_phone
from tests.servers import Server


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    limits = {
        "SPECTATE_FRAME_LIMIT": "2000",
        "SPECTATE_FIRST_MESSAGE": "3",
        "SPECTATE_FOLLOW_LIMIT": "3",
        "SPECTATE_SOCKETS_A_TOKEN": "2",
        "SPECTATE_SOCKETS_A_VIEWER": "2",
        "SPECTATE_PUBLISH_RATE": "5",
        "SPECTATE_PUBLISH_BURST": "10",
    }
    with Server("uvicorn", **limits) as server:
        yield server


def fixes(count: int) -> list[dict[str, Any]]:
    t = int(time.time() * 1000)
    return [{"t": t - n, "lat": 48.0, "lng": 2.0} for n in range(count)]


async def test_publishing_too_fast_is_answered_with_when_to_come_back(
    small: Server,
) -> None:
    token = await small.adatabase(make_phone, "fast")
    async with typed_client(small.ws_url, token) as phone:
        await phone.say(type="publish", id=1, fixes=fixes(10))
        assert (await phone.hear_type("ack"))["stored"] == 10
        await phone.say(type="publish", id=2, fixes=fixes(5))
        error = await phone.hear_type("error")
        assert (error["code"], error["id"]) == ("rate.limited", 2)
        assert 0 < error["after"] <= 1000
        await asyncio.sleep(error["after"] / 1000 + 0.1)
        await phone.say(type="publish", id=3, fixes=fixes(5))
        assert (await phone.hear_type("ack"))["stored"] == 5


async def test_who_does_not_slow_down_is_closed_with_4429(small: Server) -> None:
    token = await small.adatabase(make_phone, "faster")
    async with typed_client(small.ws_url, token) as phone:
        for _ in range(150):
            await phone.say(type="publish", fixes=fixes(10))
        assert await phone.hear_close() == 4429


async def test_the_rate_is_the_tokens_not_the_sockets(small: Server) -> None:
    token = await small.adatabase(make_phone, "twice")
    async with (
        typed_client(small.ws_url, token) as phone,
        seed_client(
            small.ws_url, additional_headers={"Authorization": f"Bearer {token}"}
        ) as monitor,
    ):
        await phone.say(type="publish", fixes=fixes(10))
        await phone.hear_type("ack")
        for n in range(5):
            await monitor.say(userId="twice", lat=1 + n, lng=2)
        assert (await monitor.hear())["error"] == "rate.limited"


async def test_a_token_has_so_many_sockets_at_a_time(small: Server) -> None:
    token = await small.adatabase(make_phone, "many")
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(typed_client(small.ws_url, token))
        third = await stack.enter_async_context(
            seed_client(
                small.ws_url,
                subprotocols=[Subprotocol("spectate.v1")],
                additional_headers={"Authorization": f"Bearer {token}"},
            )
        )
        assert (await third.hear())["code"] == "socket.limit"
        assert await third.hear_close() == 4429
    async with typed_client(small.ws_url, token) as phone:
        await phone.say(type="ping")
        await phone.hear_type("pong")


async def test_following_beyond_the_limit_is_told(small: Server) -> None:
    for code in "abcd":
        await small.adatabase(make_phone, code)
    async with typed_client(small.ws_url) as alice:
        await alice.say(type="follow", runners=["a", "b", "c", "d"], id=1)
        error = await alice.hear_type("error")
        assert (error["code"], error["id"]) == ("follow.limit", 1)
        snapshot = await alice.hear_type("snapshot")
        assert [r["code"] for r in snapshot["runners"]] == ["a", "b", "c"]
        await alice.say(type="follow", public=True)
        assert (await alice.hear_type("error"))["code"] == "follow.limit"


async def test_a_frame_over_the_limit_is_answered_and_closed(small: Server) -> None:
    async with typed_client(small.ws_url) as alice:
        await alice.say(type="ping", pad="x" * 2000)
        assert (await alice.hear())["code"] == "message.too_big"
        assert await alice.hear_close() == 1009


async def test_who_says_nothing_valid_in_time_is_closed(small: Server) -> None:
    async with seed_client(small.ws_url) as silent, seed_client(small.ws_url) as alice:
        await alice.say(initialRequest=True, following=[])
        await silent.say_raw("?")
        assert await silent.hear_close() == 4408
        await alice.say_raw("?")
        assert (await alice.hear())["error"] == "message.invalid"


async def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(
    small: Server,
) -> None:
    token = await small.adatabase(make_phone, "right")

    async def wrong() -> float:
        started = time.monotonic()
        async with seed_client(f"{small.ws_url}/?token=wrong") as mallory:
            await mallory.hear_close()
        return time.monotonic() - started

    waits = [await wrong() for _ in range(5)]
    assert waits[4] > 1.5  # 0.1 s, doubled four times
    trying = asyncio.create_task(wrong())
    started = time.monotonic()
    async with typed_client(small.ws_url, token):
        pass
    assert time.monotonic() - started < waits[4]
    assert not trying.done()
    await trying
