"""Limits on bodies, on time, and on the number of connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from bench import process
from runners.serving import bodies, http
from runners.serving.bodies import (
    BODY_LIMIT_BYTES,
    MIB,
    UPLOAD_LIMIT_BYTES,
    Application,
    with_bounded_bodies,
)
from runners.serving.http import BoundedHttp
from tests.background import served
from tests.servers import Server
from tests.waiting import PATIENCE_S, eventually, within

CHUNK = b"a" * 65_536


async def count_body(scope: Any, receive: Any, send: Any) -> None:
    """Reply with the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % size})


async def answer_to(path: str, chunks: Sequence[bytes | None]) -> tuple[int, str]:
    """Return the status and text for a body; after None, nothing more arrives."""
    sent: list[dict[str, Any]] = []
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if (chunk := left.pop(0)) is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await with_bounded_bodies(count_body)({"path": path}, receive, send)
    return sent[0]["status"], sent[1]["body"].decode()


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/sign-in/", BODY_LIMIT_BYTES),
        ("/intake/generic/", UPLOAD_LIMIT_BYTES),
        ("/admin/runners/race/add/", UPLOAD_LIMIT_BYTES),
    ],
)
async def test_a_body_has_at_most_the_bytes_of_its_path(path: str, limit: int) -> None:
    assert await answer_to(path, [b"a" * limit]) == (200, str(limit))
    text = f"A request here has {limit / MIB:g} MiB at most.\n"
    assert await answer_to(path, [b"a" * limit, b"a"]) == (413, text)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/races", "body.too_large"),
        ("/live.json", "http.413"),
        ("/races/ten/course.geojson", "http.413"),
    ],
)
async def test_programs_get_the_refusal_of_a_body_as_json(path: str, code: str) -> None:
    status, text = await answer_to(path, [b"a" * (bodies.limit_of(path) + 1)])
    assert (status, json.loads(text)["code"]) == (413, code)


async def test_a_body_without_an_end_is_refused() -> None:
    endless = [b"a" * MIB] * (bodies.PATIENCE_LIMIT_BYTES // MIB + 2)
    status, _ = await answer_to("/", [*endless, None])
    assert status == 413


async def test_a_slow_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.05)
    status, text = await answer_to("/", [b"a", None])
    assert (status, text[:23]) == (408, "The request took longer")


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Reply without reading the body."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize("application", [with_bounded_bodies(count_body), refuse])
async def test_a_body_that_trickles_ends_with_its_connection(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (bodies, http):
        monkeypatch.setattr(module, "BODY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(http, "ANSWER_TIMEOUT_S", 0.2)
    async with served(application) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(POST)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while not reader.at_eof():
                    writer.write(b"a")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        await within(reader.read(1000), 0.02)
        writer.close()


async def test_a_connection_ends_whose_body_came_after_its_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "HEAD_TIMEOUT_S", 0.3)
    async with served(refuse) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(POST)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401")
        writer.write(b"a" * 1000)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
async def test_a_client_that_reads_nothing_is_disconnected(
    header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "STALL_TIMEOUT_S", 0.2)
    monkeypatch.setattr(http, "ANSWER_TIMEOUT_S", 0.2)

    async def send_much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = {"type": "http.response.body", "body": CHUNK, "more_body": True}
        for _ in range(400):
            await send(body)
        await send({"type": "http.response.body"})

    async with served(send_much) as address:
        with socket.create_connection(address) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + header + b"\r\n")
            await eventually(lambda: BoundedHttp.open)
            await eventually(lambda: not BoundedHttp.open)


async def test_a_process_has_a_limited_number_of_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "connection_limit", lambda: 2)
    async with served(count_body) as address, contextlib.AsyncExitStack() as stack:

        async def connect() -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection(*address)
            stack.callback(writer.close)
            return reader

        idle = [await connect() for _ in range(2)]
        await eventually(lambda: len(BoundedHttp.open) == 2)
        answer = await (await connect()).read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"\r\n\r\nToo many connections. Try again.\n")
        assert not any(reader.at_eof() for reader in idle)
    await eventually(lambda: not BoundedHttp.open)


# Both servers


def post(server: Server, path: str, size: int) -> bytes:
    """Post a body without a right; return the response."""
    with socket.create_connection(
        ("127.0.0.1", server.port), timeout=PATIENCE_S
    ) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Length: {size}\r\n\r\n".encode()
        )
        for _ in range(size // len(CHUNK)):
            connection.sendall(CHUNK)
        response = b""
        while data := connection.recv(65_536):
            response += data
    return response


@pytest.mark.parametrize("size", [4 * MIB, 48 * MIB])
def test_a_server_refuses_a_long_body_and_stores_none_of_it(
    server: Server, size: int
) -> None:
    before = process.rss_kib(server.pid)
    answer = post(server, "/sign-in/", size)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b" MiB at most." in answer
    assert process.rss_kib(server.pid) - before < 20 * 1024
