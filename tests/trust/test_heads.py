"""Request heads that do not end or do not arrive."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from uvicorn.server import ServerState

from bench import process
from runners.serving import http
from runners.serving.http import HEADERS, MAX_CHUNKS, MAX_PIPELINED, BoundedHttp
from tests.background import served
from tests.live.connections import Transport, configured
from tests.servers import Server
from tests.waiting import PATIENCE_S

# Longest endless header before the server must have closed. The kernel buffers a part.
SENT_LIMIT_BYTES = 20 * 1024 * 1024


def answer_to(server: Server, request: bytes) -> bytes:
    with socket.create_connection(
        ("127.0.0.1", server.port), timeout=PATIENCE_S
    ) as connection:
        connection.sendall(request)
        return connection.recv(100)


def test_a_head_has_a_limited_number_of_headers(
    uvicorn_server: Server,
) -> None:
    start = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    most = start + b"X: y\r\n" * (HEADERS - 1) + b"\r\n"
    assert answer_to(uvicorn_server, most).startswith(b"HTTP/1.1 200 ")
    more = start + b"X: y\r\n" * HEADERS + b"\r\n"
    assert answer_to(uvicorn_server, more).startswith(b"HTTP/1.1 400 ")


def test_a_connection_has_a_limited_number_of_waiting_requests(
    uvicorn_server: Server,
) -> None:
    request = b"GET /runners/nobody/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    few = answer_to(uvicorn_server, request * MAX_PIPELINED)
    assert few.startswith(b"HTTP/1.1 404 ")
    many = answer_to(uvicorn_server, request * (2 * MAX_PIPELINED))
    assert many.startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in uvicorn_server.log


async def test_no_page_is_made_for_a_connection_that_is_refused() -> None:
    """Its response could not be sent after the 400."""
    received: list[str] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        received.append((await receive())["type"])

    state = ServerState()
    connection = BoundedHttp(configured(page), state, {})
    connection.connection_made(Transport())
    connection.data_received(HEAD * (2 * MAX_PIPELINED))
    await asyncio.gather(*state.tasks, return_exceptions=True)
    connection.connection_lost(None)
    assert received == ["http.disconnect"]


def test_a_body_in_tiny_chunks_is_refused(uvicorn_server: Server) -> None:
    head = (
        b"POST /sign-in/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    )
    tiny = b"1\r\na\r\n" * (MAX_CHUNKS + 100)
    refused = answer_to(uvicorn_server, head + b"\r\n" + tiny + b"0\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 400 ")
    chunks = b"40\r\n" + b"a" * 64 + b"\r\n"
    whole = head + b"\r\n" + chunks * (MAX_CHUNKS + 100) + b"0\r\n\r\n"
    assert answer_to(uvicorn_server, whole).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "start", [b"GET /", b"GET / HTTP/1.1\r\nX: "], ids=["line", "header"]
)
def test_a_head_that_does_not_end_is_cut_off(
    uvicorn_server: Server, start: bytes
) -> None:
    before = process.rss_kib(uvicorn_server.pid)
    sent = 0
    with (
        socket.create_connection(("127.0.0.1", uvicorn_server.port)) as connection,
        pytest.raises(OSError),
    ):
        connection.sendall(start)
        while sent < SENT_LIMIT_BYTES:
            connection.sendall(b"a" * 65_536)
            sent += 65_536
    assert sent < SENT_LIMIT_BYTES
    assert process.rss_kib(uvicorn_server.pid) - before < 8 * 1024


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("parts", [(), (HEAD[:9],), (HEAD, HEAD[:9])])
async def test_connection_without_a_head_in_time_is_closed(
    monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(http, "HEAD_TIMEOUT_S", 0.3)
    assert await seconds_open(parts, keep_alive=3600) >= 0.3


async def test_time_between_requests_is_that_of_keep_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "HEAD_TIMEOUT_S", 3600)
    assert await seconds_open((HEAD[:9], HEAD[9:]), keep_alive=1) >= 1


async def seconds_open(parts: tuple[bytes, ...], keep_alive: int) -> float:
    """Send parts of a request and return how many seconds the connection is open."""

    async def ok(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with served(ok, keep_alive) as address:
        started = time.monotonic()
        reader, writer = await asyncio.open_connection(*address)
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.05)
        async with asyncio.timeout(PATIENCE_S):
            await reader.read()
        lasted = time.monotonic() - started
        writer.close()
    return lasted
