"""A websocket client that can misbehave: callers control every byte that it sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Self, cast
from urllib.parse import urlsplit

from tests.waiting import PATIENCE_S

# Opcodes.
CONTINUATION = 0
TEXT = 1
BINARY = 2
CLOSE = 8
PING = 9
PONG = 10
# Result of `closed` if the connection ended without a close frame.
ABNORMAL = 1006
SUBPROTOCOLS = {"seed": None, "v1": "spectate.v1"}


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """Encode a client's frame. A masking key of zeros is valid and changes nothing."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return bytes(((0x80 if fin else 0) | opcode,)) + length + bytes(4) + payload


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll a condition every 50 ms and return whether it became true in time."""
    deadline = time.monotonic() + seconds
    while True:
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)


class Refused(Exception):
    """The handshake got an HTTP status other than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Peer(asyncio.Protocol):
    """A client's socket that answers pings and queues texts in `inbox`.

    `closed` resolves to the close code when the connection has ended.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.status: asyncio.Future[int] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        self._code = ABNORMAL
        self._buffer = b""

    # -- connecting

    async def connect(self, url: str, *, receive_buffer: int | None = None) -> Self:
        """Connect without a handshake. `receive_buffer` is SO_RCVBUF in bytes."""
        loop = asyncio.get_running_loop()
        address = urlsplit(url)
        sock = socket.socket()
        try:
            sock.setblocking(False)
            if receive_buffer is not None:
                # Set before connecting, because it bounds the window offered to the
                # server.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await loop.sock_connect(sock, (address.hostname, address.port))
            await loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise
        return self

    def request(self, url: str, subprotocol: str | None = None) -> bytes:
        """Return the bytes of the handshake request."""
        address = urlsplit(url)
        query = f"?{address.query}" if address.query else ""
        lines = [
            f"GET {address.path or '/'}{query} HTTP/1.1",
            f"Host: {address.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        if subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        return "\r\n".join([*lines, "", ""]).encode()

    async def open(
        self,
        url: str,
        subprotocol: str | None = None,
        *,
        receive_buffer: int | None = None,
    ) -> Self:
        """Connect and complete the handshake. Raises `Refused`."""
        await self.connect(url, receive_buffer=receive_buffer)
        self.transport.write(self.request(url, subprotocol))
        status = await asyncio.wait_for(asyncio.shield(self.status), PATIENCE_S)
        if status != 101:
            self.reset()
            raise Refused(status)
        return self

    # -- sending

    def send(self, message: object) -> None:
        self.transport.write(frame(json.dumps(message).encode()))

    def send_raw(self, data: bytes) -> None:
        self.transport.write(data)

    # -- closing

    async def leave(self) -> int:
        """Send a close frame and return the code that the server answers with."""
        self.transport.write(frame(struct.pack("!H", 1000), CLOSE))
        try:
            return await asyncio.wait_for(asyncio.shield(self.closed), PATIENCE_S)
        finally:
            self.transport.abort()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock = self.transport.get_extra_info("socket")
        # Already ended: uvloop then has no socket, asyncio one that is closed.
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        self.transport.abort()

    # -- receiving

    def received(self, text: bytes) -> None:
        """Queue a text. Subclasses that count messages override this."""
        self.inbox.put_nowait(text)

    async def message(self, seconds: float = 10) -> dict[str, Any]:
        """Return the next message."""
        text = await asyncio.wait_for(self.inbox.get(), seconds)
        message: dict[str, Any] = json.loads(text)
        return message

    def drain(self) -> list[dict[str, Any]]:
        """Return the messages that have arrived."""
        messages = []
        while not self.inbox.empty():
            messages.append(json.loads(self.inbox.get_nowait()))
        return messages

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Uvloop's transport has the same methods but is not a subclass.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at = 0
        if not self.status.done():
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            self.status.set_result(int(data.split(b" ", 2)[1]))
            at = end + 4
        while len(data) - at >= 2:
            opcode, size, start = data[at] & 15, data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if len(data) < start + size:
                break
            self._frame(opcode, data[start : start + size])
            at = start + size
        self._buffer = data[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.received(payload)
        elif opcode == PING:
            self.transport.write(frame(payload, PONG))
        elif opcode == CLOSE:
            self._code = int.from_bytes(payload[:2], "big") if payload else 1005
            self.transport.write(frame(payload, CLOSE))
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.status.done():
            self.status.set_result(0)
        if not self.closed.done():
            self.closed.set_result(self._code)


async def open_peer(url: str, dialect: str = "seed") -> Peer:
    """Connect a well-behaved peer. In the typed dialect, the `welcome` is read."""
    peer = await Peer().open(url, SUBPROTOCOLS[dialect])
    if dialect == "v1":
        assert (await peer.message())["type"] == "welcome"
    return peer
