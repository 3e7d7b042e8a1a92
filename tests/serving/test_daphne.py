"""Limits of Daphne's requests and sockets, with a virtual clock."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from daphne import http_protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from runners.live.plain_frames import MAX_CONTROL_BYTES
from runners.live.server import MAX_CONTROL_FRAMES
from runners.serving import daphne
from runners.serving.bodies import BODY_TIMEOUT_S
from tests.websocket import CONTINUATION, PING, PONG, frame

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("WebRequest", "HTTPFactory"):
        monkeypatch.setattr(http_protocol, name, getattr(http_protocol, name))
    daphne.limit_requests(http_protocol)
    server = SimpleNamespace(
        protocol_connected=lambda request: None,
        protocol_disconnected=lambda request: None,
    )
    return http_protocol.HTTPFactory(server)


def test_a_slow_body_is_refused(factory: Any) -> None:
    clock = Clock()
    transport: Any = StringTransport()  # type: ignore[no-untyped-call]
    protocol = factory.buildProtocol(None)
    protocol.callLater = clock.callLater
    protocol.makeConnection(transport)
    protocol.dataReceived(POST)
    clock.advance(BODY_TIMEOUT_S - 1)
    protocol.dataReceived(b"a")
    assert not transport.value()
    clock.advance(1)
    assert transport.value().startswith(b"HTTP/1.1 408 ")
    assert transport.disconnecting


@pytest.mark.parametrize("opcode", [PING, PONG, CONTINUATION])
def test_a_flood_of_frames_that_reach_no_session_drops_the_socket(opcode: int) -> None:
    class Protocol(WebSocketServerProtocol):
        openHandshakeTimeout = 0

    daphne.limit_frames(Protocol)
    few = frame(b"", opcode, fin=opcode != CONTINUATION) * 50
    large = frame(b"x" * (MAX_CONTROL_BYTES + 1), CONTINUATION, fin=False)
    factory: Any = WebSocketServerFactory
    flooder: Any = Protocol()
    other: Any = Protocol()
    for socket in (flooder, other):
        socket.factory = factory()
        socket.application_queue = asyncio.Queue()
        transport: Any = StringTransport()  # type: ignore[no-untyped-call]
        # As a TCP connection, it has a producer to remove.
        transport.registerProducer(object(), streaming=True)
        socket.makeConnection(transport)
        socket.dataReceived(HANDSHAKE)
        socket.dataReceived(frame(b"", fin=False) + few + large * MAX_CONTROL_FRAMES)
        assert not socket.transport.disconnected
    for _ in range(2 * MAX_CONTROL_FRAMES // 50):
        flooder.dataReceived(few)
    assert flooder.transport.disconnected
    assert not other.transport.disconnected
    # Its network is held back.
    assert flooder.application_queue.get_nowait()["flood"]
    assert flooder.application_queue.empty() and other.application_queue.empty()


def test_a_process_has_a_limited_number_of_connections(
    factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daphne, "connection_limit", lambda: 1)
    protocol = factory.buildProtocol(None)
    protocol.makeConnection(StringTransport())  # type: ignore[no-untyped-call]
    assert factory.buildProtocol(None) is None
    protocol.connectionLost(None)
    assert factory.buildProtocol(None) is not None
