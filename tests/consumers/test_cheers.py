"""Cheers: Alice follows Bob, who runs; Charlie may not see him."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients import Client, seed_client, typed_client
from tests.scenes.people import make_runner, make_token
from tests.servers import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("uvicorn") as server:
        yield server
        server.stop()
        assert "Traceback" not in server.log, server.log


@pytest.fixture(scope="module")
def tokens(server: Server) -> dict[str, str]:
    """The tokens of the runners' phones; one is hidden, one wants no cheers."""
    return {
        runner.code: server.database(make_token, runner)
        for runner in (
            server.database(make_runner, "bob"),
            server.database(make_runner, "hidden", visibility="private"),
            server.database(make_runner, "dora"),
            server.database(make_runner, "eve"),
            server.database(make_runner, "finn", cheers=False),
        )
    }


@pytest.fixture(scope="module")
def bob(tokens: dict[str, str]) -> str:
    return tokens["bob"]


async def cheer(client: Client, runner: object, text: object) -> str:
    """Cheer; return "ack" or the error's code."""
    await client.say(type="cheer", id="c", runner=runner, text=text)
    answer = await client.hear_until(lambda m: m.get("id") == "c")
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
        await alice.say(type="follow", runners=["bob"])
        await alice.hear_type("snapshot")
        await old.say(initialRequest=True, following=["bob"])
        assert await cheer(alice, "bob", " Allez, Bob \U0001f44f ") == "ack"
        heard = await phone.hear_type("event")
        assert heard.pop("time") > 0
        assert heard == {
            "type": "event",
            "kind": "cheer",
            "runner": "bob",
            "text": "Allez, Bob \U0001f44f",
        }
        assert (await alice.hear_type("event"))["text"] == heard["text"]
        assert await stranger.hear_nothing()
        # The dialect of 2015 has no such thing, and no socket here saw a position.
        assert await old.hear_nothing()
        assert await phone.hear_nothing()


async def test_a_runner_who_follows_themselves_hears_it_once(
    server: Server, bob: str
) -> None:
    async with typed_client(server.ws_url, bob) as phone:
        await phone.say(type="follow", runners=["bob"])
        await phone.hear_type("snapshot")
        await phone.say(type="cheer", runner="bob", text="Go")
        await phone.hear_type("event", "cheer")
        await phone.say(type="ping")
        assert (await phone.hear_until(lambda m: m["type"] != "ack"))["type"] == "pong"


async def test_the_phone_of_a_hidden_runner_hears_nobody_who_may_not_see_them(
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
        # A token is for sending: it shows nobody, not even its own runner.
        assert await cheer(phone, "hidden", "Go") == "runner.unknown"
        assert await phone.hear_nothing()


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
async def test_words_are_one_short_plain_line(
    server: Server, bob: str, text: object
) -> None:
    async with typed_client(server.ws_url) as alice:
        assert await cheer(alice, "bob", text) == "cheer.invalid"
        assert await cheer(alice, {"code": "bob"}, "Go") == "runner.invalid"


async def test_a_socket_cheers_a_few_times_and_then_now_and_then(
    server: Server, bob: str
) -> None:
    async with typed_client(server.ws_url) as alice:
        for _ in range(3):
            assert await cheer(alice, "dora", "Go") == "ack"
        await alice.say(type="cheer", id=4, runner="dora", text="Go")
        error = await alice.hear_type("error")
        assert (error["code"], error["id"]) == ("rate.limited", 4)
        assert 3000 < error["after"] <= 5000


async def test_a_runner_gets_no_more_than_they_can_hear(
    server: Server, bob: str
) -> None:
    answers = []
    for _ in range(4):
        async with typed_client(server.ws_url) as fan:
            answers += [await cheer(fan, "eve", "Go") for _ in range(3)]
    assert answers[:10] == ["ack"] * 10
    assert "rate.limited" in answers[10:]


async def test_a_runner_takes_no_cheers(server: Server, bob: str) -> None:
    async with typed_client(server.ws_url) as alice:
        assert await cheer(alice, "finn", "Go") == "cheer.off"
