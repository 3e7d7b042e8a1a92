"""Connections to uvicorn's protocols in a test's process, without a socket."""

from __future__ import annotations

import asyncio
import weakref
from asyncio.protocols import BaseProtocol
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from runners.live.server import FrameProtocol
from runners.serving.http import BoundedHttp
from tests.waiting import within

HANDSHAKE = (
    b"GET /ws/%C3%A9?token=a%20b HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Name: caf\xe9\r\n"
    b"Sec-WebSocket-Protocol: spectate.v1\r\n"
)


class Transport(asyncio.Transport):
    """Keeps what is written.

    `protocol` is the websocket's after its handshake, and `http` the one before.
    """

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 8)})
        self.written = b""
        self.writes = 0
        self.paused = False
        self.closed = False
        self.http: weakref.ref[BoundedHttp] | None = None

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


async def accept(scope: Any, receive: Any, send: Any) -> None:
    """Accept a handshake, as an application."""
    await send({"type": "websocket.accept"})


def configured(application: Any, **options: Any) -> Config:
    config = Config(
        application,
        ws=FrameProtocol,
        ws_max_size=100_000,
        ws_per_message_deflate=False,
        log_config=None,
        **options,
    )
    config.load()
    return config


def connect(
    application: Any, request: bytes, **options: Any
) -> tuple[Transport, ServerState]:
    """Serve a request; `protocol` of the transport receives what follows."""
    state = ServerState()
    return connect_to(configured(application, **options), state, request), state


def connect_to(config: Config, state: ServerState, request: bytes) -> Transport:
    transport = Transport()
    protocol = BoundedHttp(config, state, {})
    transport.http = weakref.ref(protocol)
    protocol.connection_made(transport)
    protocol.data_received(request)
    return transport


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
    try:
        yield protocol, transport, messages
    finally:
        messages.may_read.set()
        protocol.connection_lost(None)
        await within(asyncio.gather(*state.tasks))
