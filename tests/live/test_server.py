"""The internals of uvicorn that `live/server.py` uses, floods and closes."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import pytest
import uvloop
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)

from runners.live.close_codes import TOO_FAST
from runners.live.inbox import INBOX_LIMIT
from runners.live.server import SLICE_BYTES
from runners.live.socket_writer import FLOOD
from tests.clients import seed_client
from tests.live.connections import connected
from tests.servers import Server
from tests.waiting import eventually, within
from tests.websocket import CLOSE, frame


def test_uvicorn_has_the_version_that_was_reviewed() -> None:
    # For a different version, review websockets_sansio_impl.py and change this line.
    assert version("uvicorn") == "0.54.0"


@pytest.mark.parametrize(
    "name",
    [
        "app_state",
        "close_sent",
        "close_timer",
        "conn",
        "default_headers",
        "disconnected",
        "frames",
        "handshake_complete",
        "handshake_initiated",
        "handle_cont",
        "handle_parser_exception",
        "handle_ping",
        "handle_pong",
        "keepalive_timeout",
        "loop",
        "pending_ping_payload",
        "queue",
        "read_paused",
        "request",
        "response",
        "run_asgi",
        "schedule_ping",
        "scope",
        "send_receive_event_to_app",
        "shutdown",
        "start_keepalive",
        "stop_keepalive",
        "tasks",
        "transport",
    ],
)
def test_uvicorn_has_the_internals_that_we_use(name: str) -> None:
    code = WebSocketsSansIOProtocol.__init__.__code__
    assert name in dir(WebSocketsSansIOProtocol) or any(
        name in function.__code__.co_names
        for function in vars(WebSocketsSansIOProtocol).values()
        if hasattr(function, "__code__")
    )
    assert "transport" in code.co_names


def test_a_pass_of_the_loop_accepts_one_connection() -> None:
    """A crowd waits in the kernel's backlog, and delays the others by single visits."""
    passes = 0
    accepted_in: list[int] = []

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted_in.append(passes)
            transport.close()

    async def accept(listener: socket.socket) -> None:
        nonlocal passes
        server = await asyncio.get_running_loop().create_server(Accepted, sock=listener)
        while len(accepted_in) < 20:
            passes += 1
            await asyncio.sleep(0)
        server.close()

    with socket.create_server(("127.0.0.1", 0), backlog=20) as listener:
        address = listener.getsockname()
        with ExitStack() as crowd:
            for _ in range(20):
                crowd.enter_context(socket.create_connection(address))
            uvloop.run(within(accept(listener)))
    assert len(set(accepted_in)) == len(accepted_in) == 20


def metric(server: Server, name: str) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        text: str = answer.read().decode()
    return float(text.partition(f"\nspectate_{name} ")[2].split("\n")[0])


def is_open(local_port: int, remote_port: int) -> bool:
    """Return whether a process still owns this end of a connection."""
    ends = f":{local_port:04X}", f":{remote_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (fields[1][8:], fields[2][8:]) == ends:
            return (
                fields[9] != "0"
            )  # The inode: 0 when only the kernel knows the socket.
    return False


@pytest.mark.parametrize("kind", [0x89, 0x8A, 0x00], ids=["ping", "pong", "fragment"])
async def test_a_flood_of_frames_that_reach_no_session_is_cut_off(kind: int) -> None:
    """Parsing what one read returns would delay everybody by more than a second."""
    async with connected() as (protocol, transport, _):
        protocol.data_received(b"\x01\x80\0\0\0\0" if kind == 0 else b"")
        protocol.data_received(bytes((kind, 0x80, 0, 0, 0, 0)) * 20_000)
        content = struct.pack("!H", TOO_FAST) + FLOOD.encode()
        close = bytes((0x88, len(content))) + content
        pongs, found, rest = transport.written.rpartition(close)
        assert found and not rest
        # What was in the same slice has been answered at once.
        assert len(pongs) <= 2 * (SLICE_BYTES // 6 + 1)


async def test_who_floods_is_disconnected_once_it_is_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While data is in flight, a disconnection is a reset: the code would be lost."""
    monkeypatch.setattr("runners.live.server.QUIET_S", 0)
    async with connected() as (protocol, transport, _):
        pings = bytes((0x89, 0x80, 0, 0, 0, 0)) * 1_000
        protocol.data_received(pings)
        monkeypatch.setattr("runners.live.server.QUIET_S", 3600)
        protocol.data_received(pings)
        for _ in range(3):
            await asyncio.sleep(0)
        assert not transport.closed
        monkeypatch.setattr("runners.live.server.QUIET_S", 0)
        protocol.data_received(pings)
        await eventually(lambda: transport.closed)


@pytest.mark.parametrize("kind", [0x89, 0x81], ids=["ping", "text"])
async def test_a_flood_after_a_close_is_not_parsed(kind: int) -> None:
    async with connected() as (protocol, _, _):
        protocol.close_with(1009, "")
        with patch.object(protocol.conn, "receive_data") as parse:
            protocol.data_received(bytes((kind, 0x80, 0, 0, 0, 0)) * 20_000)
        assert not parse.called


async def test_the_close_of_a_peer_is_read_after_messages_that_waited() -> None:
    async with connected() as (protocol, transport, _):
        texts = [*"a" * INBOX_LIMIT, "x" * 2_000, *map(str, range(100))]
        protocol.data_received(b"".join(frame(each.encode()) for each in texts))
        assert transport.paused
        protocol.close_with(1013, "")
        assert not transport.paused
        protocol.data_received(frame(struct.pack("!H", 1013), CLOSE))
        assert transport.closed


async def test_what_is_not_parsed_while_reading_is_paused_keeps_its_order() -> None:
    async with connected() as (protocol, transport, messages):
        texts = ["x" * 2_000, *map(str, range(5_000))]
        protocol.data_received(b"".join(frame(each.encode()) for each in texts))
        assert transport.paused
        # What was parsed before the pause; the rest costs nothing yet.
        assert len(protocol.queue) < 1_000
        messages.may_read.set()
        await eventually(lambda: len(messages.received) == len(texts) + 1)
        assert [each.get("text") for each in messages.received[1:]] == texts
        assert not transport.paused


@pytest.fixture(scope="module")
def open_uvicorn() -> Iterator[Server]:
    with Server("uvicorn", SPECTATE_OPEN="1") as server:
        yield server


async def test_a_stalled_peer_is_disconnected_after_a_close(
    open_uvicorn: Server,
) -> None:
    """The peer never reads the close frame, and the send buffer is never flushed."""
    server = open_uvicorn
    stalled = socket.socket()
    # Set before connecting, because the handshake fixes the window.
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", server.port))
    stalled.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b"101" in stalled.recv(4096)
    send_text(stalled, json.dumps({"initialRequest": True, "following": [1]}))
    async with seed_client(server.ws_url) as bob:
        # A size that the kernel does not buffer for a peer that does not read.
        for n in range(10_000):
            await bob.send(userId=1, lat=n % 90, lng=1.5)
        await eventually(lambda: metric(server, "merged_total") > 1000)
    ends = server.port, stalled.getsockname()[1]
    assert is_open(*ends)
    # A binary frame closes the socket.
    stalled.sendall(b"\x82\x80\x00\x00\x00\x00")
    # Sooner than after a ping without a reply, which takes 20 + 60 s.
    async with asyncio.timeout(70):
        await eventually(lambda: not is_open(*ends))
    stalled.close()


def send_text(sock: socket.socket, text: str) -> None:
    """Send a masked text frame; a mask of zeros changes nothing."""
    payload = text.encode()
    assert len(payload) < 126
    sock.sendall(bytes((0x81, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
