"""Limits and their error codes. The server has small limits."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import orjson
import pytest
from channels.db import database_sync_to_async
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from runners.consumers import message_loop, rates, speak
from runners.live.close_codes import TOO_FAST
from runners.live.socket_writer import EXTENSION, FLOOD
from runners.positions import rate_limits
from runners.quotas import network_of
from runners.serving.admission import FLOOD_WAIT_S
from runners.serving.process import COMMAND_BURST, COMMANDS_PER_S, Process
from tests.clients import seed_client, typed_client
from tests.factories.people import make_phone
from tests.live.socket_writers import RecordingWriter
from tests.servers import NEW_INTERPRETER, Kind, Server
from tests.waiting import eventually, within

TYPED = Subprotocol("spectate.v1")


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    limits = {
        "SPECTATE_FRAME_LIMIT": "2000",
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


async def test_publishing_too_fast_gets_an_error_with_a_delay(
    small: Server,
) -> None:
    token = await small.adatabase(make_phone, "fast")
    async with typed_client(small.ws_url, token) as phone:
        await phone.send(type="publish", fixes=fixes(10))
        assert (await phone.receive_type("ack"))["stored"] == 10
        # At least one exceeds the rate, unless a second passes before each.
        for n in range(20):
            await phone.send(type="publish", id=n, fixes=fixes(5))
        error = await phone.receive_type("error")
        assert error["code"] == "rate.limited"
        assert 0 < error["after"] <= 1000
        await phone.received()
        # Requests after the announced delay are accepted.
        answer = error
        while answer["type"] == "error":
            await asyncio.sleep(answer["after"] / 1000)
            await phone.send(type="publish", id="later", fixes=fixes(5))
            answer = await phone.receive_until(lambda m: m.get("id") == "later")
        assert answer["stored"] == 5


async def test_publishing_far_too_fast_closes_with_4429(small: Server) -> None:
    token = await small.adatabase(make_phone, "faster")
    async with typed_client(small.ws_url, token) as phone:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1_000):
                await phone.send(type="publish", fixes=fixes(10))
        assert await phone.receive_close() == 4429


async def test_the_rate_limit_belongs_to_the_token_not_to_the_socket(
    small: Server,
) -> None:
    token = await small.adatabase(make_phone, "twice")
    bearer = {"Authorization": f"Bearer {token}"}
    async with (
        typed_client(small.ws_url, token) as phone,
        seed_client(small.ws_url, additional_headers=bearer) as monitor,
    ):
        # Each socket sends the token's whole burst.
        for _ in range(10):
            await phone.send(type="publish", fixes=fixes(1))
        for n in range(10):
            await monitor.send(userId="twice", lat=1 + n, lng=2)
        both = [*await phone.received(), *await monitor.received()]
        codes = {message.get("code", message.get("error")) for message in both}
        assert "rate.limited" in codes


async def test_a_token_has_a_limited_number_of_sockets(small: Server) -> None:
    token = await small.adatabase(make_phone, "many")
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(typed_client(small.ws_url, token))
        third = await stack.enter_async_context(
            seed_client(
                small.ws_url,
                subprotocols=[TYPED],
                additional_headers={"Authorization": f"Bearer {token}"},
            )
        )
        assert (await third.receive())["code"] == "socket.limit"
        assert await third.receive_close() == 4429
    async with typed_client(small.ws_url, token) as phone:
        await phone.send(type="ping")
        await phone.receive_type("pong")


async def test_following_beyond_the_limit_is_an_error(small: Server) -> None:
    for code in "abcd":
        await small.adatabase(make_phone, code)
    async with typed_client(small.ws_url) as alice:
        await alice.send(type="follow", runners=["a", "b", "c", "d"], id=1)
        error = await alice.receive_type("error")
        assert (error["code"], error["id"]) == ("follow.limit", 1)
        snapshot = await alice.receive_type("snapshot")
        assert [r["code"] for r in snapshot["runners"]] == ["a", "b", "c"]
        await alice.send(type="follow", public=True)
        assert (await alice.receive_type("error"))["code"] == "follow.limit"


async def test_commands_are_limited_by_all_that_they_name(
    uvicorn_server: Server,
) -> None:
    """Each code of a `follow` may cause a reply nine times as long."""
    codes = [f"nobody-{n}" for n in range(1_000)]
    url = uvicorn_server.ws_url
    async with typed_client(url, local_addr=("127.66.1.1", 0)) as mallory:
        for n in range(10):
            await mallory.send(type="follow", id=n, runners=codes)
        errors: Counter[str] = Counter()
        while "rate.limited" not in errors:
            answer = await mallory.receive_type("error")
            errors[answer["code"]] += 1
        assert answer["id"] >= 2
        assert 0 < answer["after"] <= 1_000 * 1_001 / COMMANDS_PER_S
        # Not one of its codes was looked up.
        assert errors["runner.unknown"] == 1_000 * answer["id"]


async def test_a_flood_of_commands_closes_with_4429(uvicorn_server: Server) -> None:
    # A network of its own, as what is refused counts for all sockets of a network.
    url, address = uvicorn_server.ws_url, ("127.66.1.2", 0)
    async with (
        typed_client(url, local_addr=address) as mallory,
        seed_client(url, local_addr=address) as trudy,
    ):
        for client, message in ((mallory, '{"type": "ping"}'), (trudy, "?")):
            with contextlib.suppress(ConnectionClosed):
                for _ in range(20_000):
                    await client.send_raw(message)
                    # Lets the client read, as one that never does is reset.
                    await asyncio.sleep(0)
            assert await client.receive_close() == 4429


async def test_a_frame_over_the_limit_gets_an_error_and_a_close(small: Server) -> None:
    async with typed_client(small.ws_url) as alice:
        await alice.send(type="ping", pad="x" * 2000)
        assert (await alice.receive())["code"] == "message.too_big"
        assert await alice.receive_close() == 1009


async def test_a_socket_without_a_valid_message_in_time_is_closed(
    server_kind: Kind,
) -> None:
    env = NEW_INTERPRETER | {"SPECTATE_FIRST_MESSAGE": "1"}
    with Server(server_kind, **env) as server:
        async with (
            seed_client(server.ws_url) as alice,
            seed_client(server.ws_url) as silent,
            seed_client(server.ws_url, subprotocols=[TYPED]) as typed,
        ):
            await alice.send(initialRequest=True, following=[])
            await silent.send_raw("?")
            assert await silent.receive_close() == 4408
            assert await typed.receive_close() == 4408
            assert await alice.received() == []


async def test_only_handshakes_with_wrong_tokens_are_delayed(
    small: Server,
) -> None:
    token = await small.adatabase(make_phone, "right")

    wrong_url = f"{small.ws_url}/?token=wrong"

    async def wrong() -> float:
        started = time.monotonic()
        async with seed_client(wrong_url) as mallory:
            await mallory.receive_close()
        return time.monotonic() - started

    waits = sorted(await asyncio.gather(*(wrong() for _ in range(6))))
    # The delay is 0.1 s, doubled each time.
    assert waits[4] > 1.5 and waits[5] > 3
    # The next request waits for five seconds.
    async with seed_client(wrong_url) as mallory, typed_client(small.ws_url, token):
        assert mallory.connection.close_code is None


def websocket_scope(writer: RecordingWriter) -> dict[str, Any]:
    return {
        "type": "websocket",
        "path": "/",
        "headers": [],
        "query_string": b"",
        "subprotocols": ["spectate.v1"],
        "extensions": {EXTENSION: writer},
    }


async def test_nothing_is_read_for_a_while_after_a_refusal(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answering a flood costs more than sending it."""
    pauses: list[float] = []
    yield_to_others = partial(asyncio.sleep, 0)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        # Until the process has stopped: its tasks that sleep in a loop must yield.
        await yield_to_others()

    monkeypatch.setattr(rates, "COMMAND_BURST", 2.0)
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    ping = {"type": "websocket.receive", "text": '{"type": "ping"}'}
    messages = [{"type": "websocket.connect"}, *[ping] * 5]
    writer = RecordingWriter()
    writer.has_backpressure = True

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "websocket.disconnect"}

    await speak(websocket_scope(writer), receive, AsyncMock())
    assert pauses.count(message_loop.PAUSE_S) == 3


async def codes_answered(address: str, *messages: dict[str, Any]) -> Counter[str]:
    """Send messages on a new socket from an address; count the errors by code."""
    received = [
        {"type": "websocket.connect"},
        *(
            {"type": "websocket.receive", "text": orjson.dumps(message).decode()}
            for message in (*messages, {"type": "ping"})
        ),
    ]
    writer = RecordingWriter()

    async def receive() -> dict[str, Any]:
        if received:
            return received.pop(0)
        await eventually(lambda: writer.messages[-1]["type"] == "pong")
        return {"type": "websocket.disconnect"}

    scope = {**websocket_scope(writer), "client": (address, 1)}
    await speak(scope, receive, AsyncMock())
    return Counter(each["code"] for each in writer.messages if each["type"] == "error")


async def test_a_new_socket_gives_no_new_burst_to_its_network(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(monotonic=lambda: 0.0))
    long = {"type": "follow", "runners": [f"nobody-{n}" for n in range(1_000)]}
    short = {"type": "follow", "runners": ["nobody"]}
    flooded = await codes_answered("2001:db8::1", long, long, long)
    assert flooded == {"runner.unknown": 2_000, "rate.limited": 1}
    again = await codes_answered("2001:db8::2", long, *[short] * 20)
    assert again == {"rate.limited": 1, "runner.unknown": 20}
    other = await codes_answered("2001:db8:0:1::1", long)
    assert other == {"runner.unknown": 1_000}


async def test_handshakes_of_a_network_wait_after_a_flood_of_frames(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server cuts it off, and no more of its frames are read for a while."""
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(monotonic=lambda: 0.0))
    # What a client can send, as a disconnect of its own.
    closed = {"type": "websocket.disconnect", "code": TOO_FAST, "reason": FLOOD}
    flood = closed | {"flood": True}
    waits: list[tuple[str, float]] = []
    hold_back = process.admission.hold_back

    async def record(network: str, seconds: float, *disconnect: Any) -> bool:
        waits.append((network, seconds))
        return await hold_back(network, seconds, *disconnect)

    async def connect(address: str, last: dict[str, Any]) -> bool:
        """Return whether the socket is accepted."""
        messages = [{"type": "websocket.connect"}, last]
        scope = {**websocket_scope(RecordingWriter()), "client": (address, 1)}
        send = AsyncMock()
        await speak(scope, AsyncMock(side_effect=messages), send)
        return send.called

    monkeypatch.setattr(process.admission, "hold_back", record)
    network = network_of("2001:db8::1")
    # Others behind the address have followed runners who share no more.
    process.refused_commands.of(network).drain(int(COMMAND_BURST))
    assert await connect("2001:db8::1", closed)
    assert await connect("2001:db8::1", flood)
    assert not waits
    # This one leaves while it waits.
    assert not await connect("2001:db8::2", closed)
    assert waits == [(network, FLOOD_WAIT_S)]
    assert await connect("2001:db8:0:1::1", closed)


async def test_one_long_follow_at_a_time_is_answered_in_small_parts(
    process: Process,
) -> None:
    codes = [f"nobody-{n}" for n in range(1_000)]
    follow = orjson.dumps({"type": "follow", "runners": codes}).decode()
    # The number of refusals in each write, with the socket that sent it.
    writes: list[tuple[int, int]] = []

    class Writer(RecordingWriter):
        def write(self, frames: Sequence[bytes]) -> None:
            if refused := b"".join(frames).count(b"runner.unknown"):
                writes.append((id(self), refused))

    async def follow_all() -> None:
        messages = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": follow},
        ]

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "websocket.disconnect"}

        await speak(websocket_scope(Writer()), receive, AsyncMock())

    await asyncio.gather(follow_all(), follow_all())
    # What is sent in one pass of the event loop is one write.
    assert sum(refused for _, refused in writes) == 2_000
    assert max(refused for _, refused in writes) <= 100
    assert len([socket for socket, _ in groupby(writes, itemgetter(0))]) == 2


async def test_positions_of_2015_wait_after_a_refusal(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real_sleep(0 if seconds == message_loop.PAUSE_S else seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    process.publish_limits.rate, process.publish_limits.burst = 0.001, 2.0
    token = await database_sync_to_async(make_phone)("7")
    writer = RecordingWriter()
    writer.has_backpressure = True
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    messages.put_nowait({"type": "websocket.connect"})
    position = '{"userId":7,"lat":1,"lng":2}'
    scope = {
        **websocket_scope(writer),
        "headers": [(b"authorization", f"Bearer {token}".encode())],
        "subprotocols": [],
    }
    speaking = asyncio.create_task(speak(scope, messages.get, AsyncMock()))
    messages.put_nowait({"type": "websocket.receive", "text": position})
    await eventually(lambda: process.pipeline.accepted == 1)
    # One is accepted, one is refused, and the others wait.
    assert writer.on_texts([position] * 5) == 2
    assert writer.on_texts([position]) == 0
    await eventually(lambda: writer.messages)
    assert [message["error"] for message in writer.messages] == ["rate.limited"]
    messages.put_nowait({"type": "websocket.receive", "text": position})
    messages.put_nowait({"type": "websocket.disconnect"})
    await within(speaking)
    assert pauses.count(message_loop.PAUSE_S) == 2
