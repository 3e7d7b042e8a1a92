"""Websocket handshakes, parsed by the HTTP protocol or by websockets."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import pytest
from uvicorn.server import ServerState

from runners.live.server import FrameProtocol
from tests.live.connections import HANDSHAKE, accept, configured, connect, connect_to
from tests.waiting import eventually, within
from tests.websocket import PING, frame


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


@pytest.mark.parametrize("more", [b"", b"X-Twice: 1\r\nX-Twice: 2\r\n"])
async def test_responses_have_the_headers_of_their_time(more: bytes) -> None:
    """Uvicorn replaces them each second."""
    config, state = configured(accept), ServerState()
    for at in (b"1", b"2"):
        state.default_headers = [(b"x-time", at)]
        transport = connect_to(config, state, HANDSHAKE + more + b"\r\n")
        await asyncio.gather(*state.tasks)
        assert b"\r\nx-time: %b\r\n" % at in transport.written.lower()
        transport.protocol.connection_lost(None)


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
