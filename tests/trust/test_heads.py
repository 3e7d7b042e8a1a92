"""Heads of requests that do not end, and that do not come."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
import uvicorn

from bench import process
from runners.serving import http
from runners.serving.http import HEADERS, BoundedHttp
from tests.servers import Server

# What an endless header may send before it is cut off; the rest is the kernel's. Bytes.
SENT = 20 * 1024 * 1024


def answer_to(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        return connection.recv(100)


def test_a_head_has_so_many_headers_at_most(uvicorn_server: Server) -> None:
    start = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    most = start + b"X: y\r\n" * (HEADERS - 1) + b"\r\n"
    assert answer_to(uvicorn_server, most).startswith(b"HTTP/1.1 200 ")
    more = start + b"X: y\r\n" * HEADERS + b"\r\n"
    assert answer_to(uvicorn_server, more).startswith(b"HTTP/1.1 400 ")


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
        while sent < SENT:
            connection.sendall(b"a" * 65_536)
            sent += 65_536
    assert sent < SENT
    assert process.rss_kib(uvicorn_server.pid) - before < 8 * 1024


async def test_who_sends_no_head_in_time_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "HEAD_TIMEOUT_S", 0.3)

    async def ok(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(
        ok, http=BoundedHttp, lifespan="off", log_config=None, timeout_keep_alive=1
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        port = listener.getsockname()[1]

        async def seconds(*said: bytes) -> float:
            """Say something and return how long the connection lasts."""
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            started = time.monotonic()
            for part in said:
                writer.write(part)
                await asyncio.sleep(0.05)
            await reader.read()
            writer.close()
            return time.monotonic() - started

        head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        for said in ((), (head[:9],), (head, head[:9])):
            assert 0.25 < await seconds(*said) < 3
        # Between requests it is the server's keep-alive that counts.
        assert await seconds(head[:9], head[9:]) > 0.9
        server.should_exit = True
        await serving
