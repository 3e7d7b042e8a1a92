"""The internals of uvicorn that `live/server.py` uses, and its additions."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)

from tests.clients import seed_client
from tests.servers import Server
from tests.waiting import eventually


def test_uvicorn_has_the_version_that_was_reviewed() -> None:
    # For a different version, review websockets_sansio_impl.py and change this line.
    assert version("uvicorn") == "0.54.0"


@pytest.mark.parametrize(
    "name",
    [
        "close_sent",
        "close_timer",
        "conn",
        "disconnected",
        "frames",
        "handle_parser_exception",
        "keepalive_timeout",
        "loop",
        "queue",
        "read_paused",
        "request",
        "response",
        "run_asgi",
        "scope",
        "send_receive_event_to_app",
        "shutdown",
        "start_keepalive",
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
