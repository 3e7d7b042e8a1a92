"""Limits of Daphne's requests, with a virtual clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from daphne import http_protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from runners.live.server import MAX_CONTROL_FRAMES
from runners.serving import daphne
from runners.serving.bodies import BODY_TIMEOUT_S

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


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


def test_a_flood_of_pings_or_pongs_drops_the_socket() -> None:
    calls: list[str] = []

    class Protocol:
        def onPing(self, payload: bytes) -> None:
            calls.append("ping")

        def onPong(self, payload: bytes) -> None:
            calls.append("pong")

        def dropConnection(self, *, abort: bool) -> None:
            calls.append("dropped")

    daphne.limit_pings(Protocol)
    flood, other = Protocol(), Protocol()
    while "dropped" not in calls:
        flood.onPing(b"")
        flood.onPong(b"")
    assert len(calls) > MAX_CONTROL_FRAMES
    other.onPong(b"")
    assert calls[-1] == "pong"


def test_a_process_has_a_limited_number_of_connections(
    factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daphne, "connection_limit", lambda: 1)
    protocol = factory.buildProtocol(None)
    protocol.makeConnection(StringTransport())  # type: ignore[no-untyped-call]
    assert factory.buildProtocol(None) is None
    protocol.connectionLost(None)
    assert factory.buildProtocol(None) is not None
