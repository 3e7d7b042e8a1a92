"""The simulated client against a server that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from clients.python.spectate_client import connection
from runners.races.course import Course
from runners.races.demo import demo_points
from runners.simulation import client as client_module
from runners.simulation.client import Client, Tally
from runners.simulation.motion import Motion
from tests.waiting import PATIENCE_S, eventually

Handler = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]


@pytest.fixture(autouse=True)
def fast_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set fixes every few milliseconds, short waits and no random outages."""
    monkeypatch.setattr(client_module, "INTERVAL_S", (0.005, 0.01))
    monkeypatch.setattr(connection, "MAX_BACKOFF_S", 0.01)
    monkeypatch.setattr(client_module, "GAP_EVERY_S", 1e9)


@contextlib.asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """Welcome each socket and pass each message to the handler."""

    async def serve_socket(socket: ServerConnection) -> None:
        welcome = {"type": "welcome", "runner": "bob", "heartbeat": 20}
        await socket.send(json.dumps(welcome))
        async for message in socket:
            await handler(socket, json.loads(message))

    protocols = [Subprotocol("spectate.v1")]
    async with serve(serve_socket, "127.0.0.1", 0, subprotocols=protocols) as running:
        port = running.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}/"


async def run(url: str, enough: Callable[[Tally], object]) -> tuple[Client, Tally]:
    """Run Bob's phone until `enough` is true, then wait for its last ack."""
    tally = Tally()
    motion = Motion(Course(demo_points()), distance=0, random=Random(1))
    bob = Client(motion, url=url, token="bob's", tally=tally, random=Random(2))
    task = asyncio.create_task(bob.run())
    await eventually(lambda: enough(tally))
    bob.stop_recording()
    async with asyncio.timeout(PATIENCE_S):
        await task
    return bob, tally


def ack(message: dict[str, Any], rejected: list[list[object]] | None = None) -> str:
    rejected = rejected or []
    stored = len(message["fixes"]) - len(rejected)
    answer = {"type": "ack", "id": message["id"], "stored": stored}
    return json.dumps(answer | {"rejected": rejected})


async def test_the_client_authenticates_and_is_acked() -> None:
    received: set[int] = set()

    async def handler(socket: ServerConnection, message: dict[str, Any]) -> None:
        assert socket.request is not None
        assert socket.request.headers["Authorization"] == "Bearer bob's"
        assert message["type"] == "publish"
        received.update(fix["t"] for fix in message["fixes"])
        await socket.send(ack(message))

    async with server(handler) as url:
        bob, tally = await run(url, lambda _: len(received) > 10)

    assert tally.acked == tally.sent == len(received)
    assert (bob.waiting, bob.connected, tally.reconnects) == (0, False, 0)


async def test_the_client_resends_fixes_without_an_ack() -> None:
    stored: set[int] = set()
    messages = 0

    async def handler(socket: ServerConnection, message: dict[str, Any]) -> None:
        nonlocal messages
        messages += 1
        if messages % 5 == 0:
            # The message is lost, with the connection.
            socket.transport.abort()
            return
        stored.update(fix["t"] for fix in message["fixes"])
        if messages % 7 == 0:
            # The fixes are stored, but the ack is lost.
            socket.transport.abort()
            return
        await socket.send(ack(message))

    async with server(handler) as url:
        bob, tally = await run(url, lambda tally: tally.reconnects > 2)

    assert bob.waiting == 0
    # Every fix was stored; those without an ack were sent twice.
    assert tally.acked == len(stored)
    assert tally.sent > tally.acked


async def test_the_client_does_not_resend_rejected_fixes() -> None:
    async def handler(socket: ServerConnection, message: dict[str, Any]) -> None:
        await socket.send(ack(message, [[0, "position.future", "Too late."]]))

    async with server(handler) as url:
        bob, tally = await run(url, lambda tally: tally.refused["position.future"])

    assert bob.waiting == 0
    assert tally.acked + tally.refused.total() == tally.sent


async def test_the_client_waits_as_long_as_an_error_requests() -> None:
    refused_at: float | None = None

    async def handler(socket: ServerConnection, message: dict[str, Any]) -> None:
        nonlocal refused_at
        now = asyncio.get_running_loop().time()
        # Messages in flight are refused too, so only a client that waits is acked.
        if refused_at is None or now - refused_at < 0.2:
            refused_at = now
            error = {"type": "error", "id": message["id"], "code": "rate.limited"}
            await socket.send(json.dumps(error | {"detail": "Later.", "after": 200}))
        else:
            await socket.send(ack(message))

    async with server(handler) as url:
        bob, tally = await run(url, lambda tally: tally.acked)

    assert bob.waiting == 0
    assert tally.refused.total() == 0


async def test_the_client_reconnects_when_the_server_drains() -> None:
    requested = False

    async def handler(socket: ServerConnection, message: dict[str, Any]) -> None:
        nonlocal requested
        if not requested:
            requested = True
            await socket.send(json.dumps({"type": "reconnect", "after": 100}))
            await socket.close(1012)
            return
        await socket.send(ack(message))

    async with server(handler) as url:
        bob, tally = await run(url, lambda tally: tally.acked)

    assert tally.reconnects == 1
    assert bob.waiting == 0


@pytest.mark.parametrize("code", [4400, 4401, 4403])
async def test_the_client_does_not_reconnect_after_a_final_close(code: int) -> None:
    async def handler(socket: ServerConnection, message: dict[str, Any]) -> None:
        error = {"type": "error", "code": "token.invalid", "detail": "Not known."}
        await socket.send(json.dumps(error))
        await socket.close(code)

    async with server(handler) as url:
        _, tally = await run(url, lambda tally: tally.turned_away)

    assert (tally.turned_away, tally.reconnects) == (1, 0)
    assert tally.problem == "token.invalid: Not known."


async def test_an_outage_of_coverage_ends_in_a_late_burst(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "GAP_EVERY_S", 0.1)
    monkeypatch.setattr(client_module, "GAP_S", (0.1, 0.2))
    sizes: list[int] = []
    received: set[int] = set()

    async def handler(socket: ServerConnection, message: dict[str, Any]) -> None:
        sizes.append(len(message["fixes"]))
        received.update(fix["t"] for fix in message["fixes"])
        await socket.send(ack(message))

    async with server(handler) as url:
        bob, tally = await run(url, lambda _: max(sizes, default=0) > 5)

    assert bob.waiting == 0
    # Fixes in flight on a lost socket were sent again.
    assert tally.acked == len(received)


async def test_the_client_continues_while_acks_are_delayed() -> None:
    held: list[str] = []

    async def handler(socket: ServerConnection, message: dict[str, Any]) -> None:
        # The behaviour while the database is unavailable: fixes are published and acked
        # later.
        held.append(ack(message))
        if len(held) == 20:
            for answer in held:
                await socket.send(answer)
        elif len(held) > 20:
            await socket.send(ack(message))

    async with server(handler) as url:
        bob, tally = await run(url, lambda _: len(held) > 20)

    assert tally.acked == tally.sent
    assert bob.waiting == 0
