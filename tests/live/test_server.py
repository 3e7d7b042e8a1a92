"""The internals of uvicorn that `live/server.py` uses, and its additions."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
import time
import urllib.request
import weakref
from asyncio.protocols import BaseProtocol
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import uvloop
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from uvicorn.server import ServerState

from runners.consumers import speak
from runners.live.close_codes import TOO_FAST
from runners.live.inbox import INBOX_LIMIT
from runners.live.server import SLICE_BYTES, FrameProtocol
from runners.live.socket_writer import FLOOD
from runners.serving.http import BoundedHttp
from runners.serving.process import Process
from runners.subscriptions import topic_snapshots
from runners.subscriptions.topic import TopicName
from tests.clients import seed_client
from tests.servers import Server
from tests.virtual_time import virtual_time
from tests.waiting import eventually, within
from tests.websocket import CLOSE, PING, PONG, TEXT, frame


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


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 8)})
        self.written = b""
        self.writes = 0
        self.paused = False
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data
        self.writes += 1

    def set_protocol(self, protocol: BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        pass


HANDSHAKE = (
    b"GET /ws/%C3%A9?token=a%20b HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Name: caf\xe9\r\n"
    b"Sec-WebSocket-Protocol: spectate.v1\r\n"
)


def connect(
    application: Any, request: bytes, **options: Any
) -> tuple[Transport, ServerState]:
    """Serve a handshake; `protocol` of the transport receives what follows."""
    config = Config(
        application, ws=FrameProtocol, ws_per_message_deflate=False, **options
    )
    config.load()
    state = ServerState()
    return connect_to(config, state, request), state


def connect_to(config: Config, state: ServerState, request: bytes) -> Transport:
    transport = Transport()
    protocol = BoundedHttp(config, state, {})
    protocol.connection_made(transport)
    protocol.data_received(request)
    return transport


@pytest.mark.parametrize("more", [b"", b"X-Twice: 1\r\nX-Twice: 2\r\n"])
async def test_responses_have_the_headers_of_their_time(more: bytes) -> None:
    """Uvicorn replaces them each second."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    config = Config(application, ws=FrameProtocol, ws_per_message_deflate=False)
    config.load()
    state = ServerState()
    for at in (b"1", b"2"):
        state.default_headers = [(b"x-time", at)]
        transport = connect_to(config, state, HANDSHAKE + more + b"\r\n")
        await asyncio.gather(*state.tasks)
        assert b"\r\nx-time: %b\r\n" % at in transport.written.lower()
        transport.protocol.connection_lost(None)


async def test_sockets_share_the_keys_of_their_attributes() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    transport, state = connect(application, HANDSHAKE + b"\r\n")
    await asyncio.gather(*state.tasks)
    # Python's limit, SHARED_KEYS_MAX_SIZE.
    assert len(vars(transport.protocol)) <= 30
    transport.protocol.connection_lost(None)


@pytest.mark.parametrize("more", [b"", b"X-Twice: 1\r\nX-Twice: 2\r\n"])
async def test_a_websocket_leaves_no_cycle_of_its_http_connection(more: bytes) -> None:
    """Memory that only a collection frees is cold when it is used again."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    config = Config(application, ws=FrameProtocol, ws_per_message_deflate=False)
    config.load()
    transport, state = Transport(), ServerState()
    protocol = BoundedHttp(config, state, {})
    protocol.connection_made(transport)
    protocol.data_received(HANDSHAKE + more + b"\r\n")
    http = weakref.ref(protocol)
    del protocol
    assert http() is None
    await asyncio.gather(*state.tasks)
    transport.protocol.connection_lost(None)


@pytest.mark.parametrize("more", [b"", b"X-Twice: 1\r\nX-Twice: 2\r\n"])
@pytest.mark.parametrize("changed", [False, True])
async def test_a_visitor_who_vanishes_is_freed_without_a_collection(
    process: Process, monkeypatch: pytest.MonkeyPatch, more: bytes, changed: bool
) -> None:
    # Longer than this test waits, and the other one stays: the backfill is pending.
    monkeypatch.setattr(topic_snapshots, "SNAPSHOT_MAX_AGE_S", 3_600)
    other = await follow_public(more)
    stays = set(process.access_monitor.sockets)
    transport = await follow_public(more)
    if changed:
        # As after a change of rights.
        process.topics.of(TopicName()).snapshots.discard()
    gc.disable()
    try:
        (session,) = process.access_monitor.sockets - stays
        # As with a link that ends.
        session.recheck_at = time.time() + 3_600
        left: list[weakref.ref[Any]] = [
            weakref.ref(transport.protocol),
            weakref.ref(session),
        ]
        del session
        transport.protocol.connection_lost(ConnectionResetError())
        del transport.protocol
        await eventually(lambda: [each() for each in left] == [None, None])
    finally:
        gc.enable()
    other.protocol.connection_lost(None)


async def follow_public(more: bytes) -> Transport:
    """Connect, and wait for the snapshot of everybody public."""
    request = HANDSHAKE.replace(b"?token=a%20b", b"") + more + b"\r\n"
    transport, _ = connect(speak, request)
    await eventually(lambda: b"welcome" in transport.written)
    # One with the response to the handshake, unless websockets parses the request.
    assert transport.writes == (2 if more else 1)
    assert isinstance(transport.protocol, FrameProtocol)
    transport.protocol.data_received(frame(b'{"type":"follow","public":true}'))
    await eventually(lambda: b"snapshot" in transport.written)
    return transport


async def shake_hands(request: bytes) -> tuple[dict[str, Any], set[bytes]]:
    """Return the scope of a handshake, and the lines of its response."""
    scopes: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send({"type": "websocket.accept", "subprotocol": "spectate.v1"})

    transport, state = connect(application, request)
    await asyncio.gather(*state.tasks)
    transport.protocol.connection_lost(None)
    return scopes[0] if scopes else {}, set(transport.written.split(b"\r\n"))


async def test_a_handshake_is_as_if_websockets_had_parsed_it() -> None:
    scope, response = await shake_hands(HANDSHAKE + b"\r\n")
    # Websockets parses requests with a repeated header.
    repeated = b"X-Twice: 1\r\nX-Twice: 2\r\n"
    expected, expected_response = await shake_hands(HANDSHAKE + repeated + b"\r\n")
    headers = [(name.lower(), value) for name, value in expected.pop("headers")]
    assert [*scope.pop("headers"), (b"x-twice", b"1"), (b"x-twice", b"2")] == headers
    assert scope.keys() == expected.keys()
    assert scope.pop("extensions").keys() == expected.pop("extensions").keys()
    assert scope == expected
    assert response == expected_response


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"GET", b"POST", b"405"),
        (b"Version: 13", b"Version: 8", b"400"),
        (b"bXBsZSBub25jZQ==", b"bXBsZSBub25j", b"400"),
        (b"Protocol: spectate.v1", b"Protocol: a b", b"400"),
    ],
)
async def test_websockets_refuses_handshakes_that_are_not_valid(
    old: bytes, new: bytes, status: bytes
) -> None:
    scope, response = await shake_hands(HANDSHAKE.replace(old, new) + b"\r\n")
    assert not scope
    assert any(line.startswith(b"HTTP/1.1 " + status) for line in response)


class Messages:
    """An application that keeps what it receives, once it `may_read`."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.accepted, self.may_read = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        self.accepted.set()
        await self.may_read.wait()
        while not self.received or "code" not in self.received[-1]:
            self.received.append(await receive())


@asynccontextmanager
async def connected(
    **options: Any,
) -> AsyncIterator[tuple[FrameProtocol, Transport, Messages]]:
    messages = Messages()
    transport, state = connect(messages, HANDSHAKE + b"\r\n", **options)
    await within(messages.accepted.wait())
    transport.written = b""
    protocol = transport.protocol
    assert isinstance(protocol, FrameProtocol)
    yield protocol, transport, messages
    messages.may_read.set()
    protocol.connection_lost(None)
    await within(asyncio.gather(*state.tasks))


@virtual_time
async def test_a_ping_and_its_pong_allocate_no_parser() -> None:
    """One takes 2.8 KiB, for each spectator."""
    async with connected() as (protocol, transport, messages):
        messages.may_read.set()
        await asyncio.sleep(20.1)
        (payload,) = pings(transport)
        # Of no ping, cut in two, and with texts around it.
        protocol.data_received(frame(b"", PONG) + frame(b"a")[:5])
        assert protocol.pending_ping_payload == payload
        protocol.data_received(frame(b"a")[5:] + frame(payload, PONG) + frame(b"b"))
        assert protocol.pending_ping_payload is None
        await eventually(lambda: len(messages.received) == 3)
        assert [each.get("text") for each in messages.received] == [None, "a", "b"]
        assert protocol._conn is None


def pings(transport: Transport) -> list[bytes]:
    """Return the contents of the pings that were written since the last call."""
    written, transport.written = transport.written, b""
    found = [written[at : at + 6] for at in range(0, len(written), 6)]
    assert all(each.startswith(b"\x89\x04") for each in found)
    return [each[2:] for each in found]


@pytest.mark.parametrize("in_message", [False, True])
@pytest.mark.parametrize("timeout_s", [5, 20, 60, None])
@virtual_time
async def test_sockets_that_answer_are_pinged_in_each_interval(
    timeout_s: float | None, in_message: bool
) -> None:
    """Also within a message of several frames, which websockets' parser reads."""
    async with connected(ws_ping_timeout=timeout_s) as (protocol, transport, _):
        protocol.data_received(frame(b"a", TEXT, fin=False) if in_message else b"")
        seen = set()
        await asyncio.sleep(0.1)
        for _ in range(3):
            await asyncio.sleep(19.8)
            assert not pings(transport)
            await asyncio.sleep(0.2)
            (payload,) = pings(transport)
            seen.add(payload)
            protocol.data_received(frame(payload, PONG))
            assert protocol.pending_ping_payload is None
        assert len(seen) == 3 and not transport.closed


@pytest.mark.parametrize("timeout_s", [5, 20, 60])
@virtual_time
async def test_sockets_that_do_not_answer_are_closed(timeout_s: float) -> None:
    async with connected(ws_ping_timeout=timeout_s) as (protocol, transport, _):
        await asyncio.sleep(20.1)
        assert len(pings(transport)) == 1
        protocol.data_received(frame(b"else", PONG))
        await asyncio.sleep(timeout_s - 0.2)
        assert not pings(transport) and not transport.closed
        await asyncio.sleep(0.2)
        content = struct.pack("!H", 1011) + b"keepalive ping timeout"
        assert transport.written == bytes((0x88, len(content))) + content
        assert transport.closed


@virtual_time
async def test_a_late_answer_is_followed_by_the_next_ping() -> None:
    async with connected(ws_ping_timeout=60) as (protocol, transport, _):
        await asyncio.sleep(70)
        (payload,) = pings(transport)
        protocol.data_received(frame(payload, PONG))
        await asyncio.sleep(1.1)
        assert len(pings(transport)) == 1


@virtual_time
async def test_without_a_timeout_pings_wait_for_no_answer() -> None:
    async with connected(ws_ping_timeout=None) as (_, transport, _):
        await asyncio.sleep(60.1)
        assert len(pings(transport)) == 3


@virtual_time
async def test_an_error_of_one_socket_does_not_end_the_pings_of_others() -> None:
    errors: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, each: errors.append(each))
    async with connected() as (_, broken, _), connected() as (other, transport, _):
        with patch.object(broken, "write", side_effect=OSError):
            await asyncio.sleep(20.3)
        (payload,) = pings(transport)
        other.data_received(frame(payload, PONG))
        await asyncio.sleep(20)
        assert len(pings(transport)) == 1 and len(errors) == 1


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


@pytest.mark.parametrize("more", [b"", b"X-Twice: 1\r\nX-Twice: 2\r\n"])
async def test_nothing_is_parsed_before_the_handshake_is_accepted(more: bytes) -> None:
    """The handshake of a network that floods is accepted late, for that purpose."""
    may_accept = asyncio.Event()
    received: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await may_accept.wait()
        await send({"type": "websocket.accept"})
        while not received or "code" not in received[-1]:
            received.append(await receive())

    transport, state = connect(application, HANDSHAKE + more + b"\r\n")
    protocol = transport.protocol
    assert isinstance(protocol, FrameProtocol)
    with patch.object(protocol.conn, "receive_data") as parse:
        protocol.data_received(frame(b"", PING) * 1_000)
    assert transport.paused and not parse.called
    protocol.data_received(frame(b"early"))
    may_accept.set()
    await eventually(lambda: b"\x88" in transport.written)
    assert not transport.paused
    protocol.connection_lost(None)
    await within(asyncio.gather(*state.tasks))
    assert received[0]["flood"]


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


async def test_the_access_log_has_no_lines_of_what_crowds_ask_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        length = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body"})

    config = Config(application, log_config=None)
    config.load()
    state = ServerState()
    caplog.set_level("INFO", "uvicorn.access")
    protocol = BoundedHttp(config, state, {})
    protocol.connection_made(Transport())
    # A proxy sends requests of several viewers on one connection.
    for path in ("/races/ten/eta.json?at=5", "/a", "/live.json", "/b?x=/eta.json"):
        protocol.data_received(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await asyncio.gather(*state.tasks)
    protocol.connection_lost(None)
    logged = [record.getMessage().split()[3] for record in caplog.records]
    assert logged == ["/a", "/b?x=/eta.json"]
