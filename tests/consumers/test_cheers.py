"""Cheers: Alice follows Bob, who runs; Charlie may not see him."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from runners.consumers.commands.cheer import SOCKET_BURST, SOCKET_CHEERS_PER_S
from runners.subscriptions.cheering import (
    RUNNER_BURST,
    RUNNER_CHEERS_PER_S,
    SENDER_BURST,
    SENDER_CHEERS_PER_S,
)
from tests.clients import Client, Message, seed_client, typed_client
from tests.factories.people import make_runner, make_token
from tests.servers import Server, checked


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from checked(Server("uvicorn"))


@pytest.fixture(scope="module")
def tokens(server: Server) -> dict[str, str]:
    """Tokens of the runners' phones. `hidden` is private, `finn` accepts no cheers."""
    return {
        runner.code: server.database(make_token, runner)
        for runner in (
            server.database(make_runner, "bob"),
            server.database(make_runner, "hidden", visibility="private"),
            server.database(make_runner, "dora"),
            server.database(make_runner, "eve"),
            server.database(make_runner, "gus"),
            server.database(make_runner, "finn", cheers=False),
        )
    }


@pytest.fixture(scope="module")
def bob(tokens: dict[str, str]) -> str:
    return tokens["bob"]


async def cheer(client: Client, runner: object, text: object) -> str:
    """Send a cheer; return "ack" or the error's code."""
    await client.send(type="cheer", id="c", runner=runner, text=text)
    answer = await client.receive_until(lambda m: m.get("id") == "c")
    if answer["type"] == "ack":
        assert answer == {"type": "ack", "id": "c"}
        return "ack"
    return str(answer["code"])


async def test_a_cheer_reaches_followers_and_the_runners_phone(
    server: Server, bob: str
) -> None:
    async with (
        typed_client(server.ws_url) as alice,
        typed_client(server.ws_url, bob) as phone,
        typed_client(server.ws_url) as stranger,
        seed_client(server.ws_url) as old,
    ):
        await alice.send(type="follow", runners=["bob"])
        await alice.receive_type("snapshot")
        await old.send(initialRequest=True, following=["bob"])
        assert await old.received() == []
        await alice.send(type="cheer", runner="bob", text=" Allez, Bob \U0001f44f ")
        # Alice is a follower too, and gets both in any order.
        own: dict[str, Message] = {}
        while not {"ack", "event"} <= own.keys():
            message = await alice.receive()
            own[message["type"]] = message
        received = await phone.receive_type("event")
        assert received.pop("time") > 0
        assert received == {
            "type": "event",
            "kind": "cheer",
            "runner": "bob",
            "text": "Allez, Bob \U0001f44f",
        }
        assert own["event"]["text"] == received["text"]
        assert await stranger.received() == []
        # The seed dialect has no cheers, and the phone received no position.
        assert await old.received() == []
        assert await phone.received() == []


async def test_a_runner_who_follows_themselves_receives_a_cheer_once(
    server: Server, bob: str
) -> None:
    async with typed_client(server.ws_url, bob) as phone:
        await phone.send(type="follow", runners=["bob"])
        await phone.receive_type("snapshot")
        await phone.send(type="cheer", runner="bob", text="Go")
        await phone.receive_type("event", "cheer")
        await phone.send(type="ping")
        answer = await phone.receive_until(lambda m: m["type"] != "ack")
        assert answer["type"] == "pong"


async def test_a_cheer_of_a_viewer_without_access_does_not_reach_the_phone(
    server: Server, tokens: dict[str, str]
) -> None:
    async with (
        typed_client(server.ws_url, tokens["hidden"]) as phone,
        typed_client(server.ws_url) as charlie,
    ):
        assert await cheer(charlie, "hidden", "I know you are there") == (
            "runner.unknown"
        )
        assert await cheer(charlie, "nobody", "Go") == "runner.unknown"
        # A token is for publishing only and gives no access to runners, not even its
        # own.
        assert await cheer(phone, "hidden", "Go") == "runner.unknown"
        assert await phone.received() == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "x" * 81,
        7,
        None,
        ["Go"],
        "two\nlines",
        "\x00",
        "\u202egnilleps",
        "\x7f",
    ],
)
async def test_the_text_of_a_cheer_is_one_short_plain_line(
    server: Server, bob: str, text: object
) -> None:
    async with typed_client(server.ws_url) as alice:
        assert await cheer(alice, "bob", text) == "cheer.invalid"
        assert await cheer(alice, {"code": "bob"}, "Go") == "runner.invalid"


async def test_a_socket_may_send_a_few_cheers_at_once_and_then_one_per_interval(
    server: Server, bob: str
) -> None:
    async with typed_client(server.ws_url) as alice:
        for n in range(20):
            await alice.send(type="cheer", id=n, runner="dora", text="Go")
        error = await alice.receive_type("error")
        assert error["code"] == "rate.limited"
        # A later id is limited, unless the server took five seconds for each cheer.
        assert error["id"] >= SOCKET_BURST
        assert 0 < error["after"] <= 1000 / SOCKET_CHEERS_PER_S


async def cheer_all_at_once(fan: Client) -> list[str]:
    return [await cheer(fan, "eve", "Go") for _ in range(SOCKET_BURST)]


async def test_one_sender_leaves_room_for_the_cheers_of_others(
    server: Server, tokens: dict[str, str]
) -> None:
    def fan(address: str) -> AbstractAsyncContextManager[Client]:
        return typed_client(server.ws_url, local_addr=(address, 0))

    async with contextlib.AsyncExitStack() as stack:
        loud = [await stack.enter_async_context(fan("127.2.0.1")) for _ in range(10)]
        started = time.monotonic()
        answers = [await cheer(client, "gus", "Go") for client in loud]
        seconds = time.monotonic() - started
        sent = answers.count("ack")
        assert SENDER_BURST <= sent <= SENDER_BURST + SENDER_CHEERS_PER_S * seconds
        other = await stack.enter_async_context(fan("127.2.0.2"))
        assert await cheer(other, "gus", "Go") == "ack"


async def test_cheers_for_one_runner_are_limited(server: Server, bob: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        # Each from a different address, as the cheers of one sender are limited more.
        fans = [
            await stack.enter_async_context(
                typed_client(server.ws_url, local_addr=(f"127.3.0.{number}", 0))
            )
            for number in range(1, 21)
        ]
        started = time.monotonic()
        answers = sum(await asyncio.gather(*map(cheer_all_at_once, fans)), [])
        seconds = time.monotonic() - started
    assert set(answers) == {"ack", "rate.limited"}
    received = answers.count("ack")
    assert RUNNER_BURST <= received <= RUNNER_BURST + RUNNER_CHEERS_PER_S * seconds


async def test_a_runner_may_turn_cheers_off(server: Server, bob: str) -> None:
    async with typed_client(server.ws_url) as alice:
        assert await cheer(alice, "finn", "Go") == "cheer.off"
