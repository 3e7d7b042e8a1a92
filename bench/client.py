"""A websocket client that is cheap enough for thousands on one core.

It reads frame headers and the first bytes of each payload. Only payloads that a
subclass wants are assembled. Server frames are not masked, and its own are masked with
zeros, which is a valid mask.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Any, Self, cast
from urllib.parse import urlsplit

import orjson

# Opcodes.
TEXT = 1
CLOSE = 8
PING = 9
PONG = 10
# Bytes of a frame that are examined before deciding whether to keep it.
PEEK_BYTES = 64
# One buffer for all sockets, because a read ends before the next one starts.
_BUFFER = bytearray(256 * 1024)
_VIEW = memoryview(_BUFFER)
# The kernel has 28,000 ports per source address.
SOCKETS_PER_ADDRESS = 10_000
# Concurrent handshakes.
CONCURRENT_HANDSHAKES = 64
OPEN_TIMEOUT_S = 60


def received_of(size: int) -> bytes:
    """Return the data of the last read."""
    return bytes(_VIEW[:size])


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """Build a masked frame."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return bytes((0x80 | opcode,)) + length + bytes(4) + payload


class Client(asyncio.BufferedProtocol):
    """One socket. Subclasses choose the frames they want and handle them."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.close_code: int | None = None
        # The beginning of an incomplete frame, or of the handshake's response.
        self._head = b""
        self._shaken = False
        # The frame that is arriving: the bytes left, and the bytes kept.
        self._pending = 0
        self._opcode = 0
        self._kept: list[bytes] | None = None

    # -- for subclasses

    def begins(self, size: int, data: Any, start: int) -> bool:
        """Examine a text frame's first bytes. Return True to receive it completely in
        `text`.
        """
        return False

    def skipped(self) -> None:
        """Handle the end of a frame that `peek` did not want."""

    def text(self, payload: bytes) -> None:
        """Handle a frame that `peek` wanted."""

    def lost(self) -> None:
        """Handle the end of the connection."""

    # -- sending

    def send(self, message: object) -> None:
        self.transport.write(masked(orjson.dumps(message)))

    def reset(self) -> None:
        """Disconnect without a close frame."""
        self.transport.abort()

    # -- connecting

    async def open(self, url: str, number: int = 0, subprotocol: str = "") -> Self:
        """Connect from the source address that belongs to the socket's number.

        Raises `OSError` if the server refuses.
        """
        loop = asyncio.get_running_loop()
        address = urlsplit(url)
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "IP_BIND_ADDRESS_NO_PORT"):
            sock.setsockopt(socket.SOL_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.0.{1 + number // SOCKETS_PER_ADDRESS}", 0))
        try:
            await loop.sock_connect(sock, (address.hostname, address.port))
            await loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {address.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        if subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        self.transport.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await self.opened
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.close_code is None:
            self.close_code = 1006
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("The server closed it."))
        self.lost()

    # -- receiving

    def get_buffer(self, sizehint: int) -> bytearray:
        return _BUFFER

    def buffer_updated(self, size: int) -> None:
        at = 0
        if self._pending:
            if self._pending > size:
                self._pending -= size
                if self._kept is not None:
                    self._kept.append(bytes(_VIEW[:size]))
                return
            at = self._pending
            if self._kept is not None:
                self._kept.append(bytes(_VIEW[:at]))
            self._pending = 0
            self._ends()
            if at == size:
                return
        if self._head:
            data: Any = self._head + _VIEW[at:size]
            self._head, at, size = b"", 0, len(data)
        else:
            data = _BUFFER
        self._read(data, at, size)

    def _read(self, data: Any, at: int, end: int) -> None:
        """Read the frames that start in `data` from `at` to `end`."""
        if not self._shaken:
            stop = data.find(b"\r\n\r\n", at, end)
            if stop < 0:
                self._head = bytes(data[at:end])
                return
            if bytes(data[at : at + 12]) != b"HTTP/1.1 101":
                status = bytes(data[at : at + 60]).split(b"\r\n")[0].decode()
                if not self.opened.done():
                    self.opened.set_exception(ConnectionError(status))
                self.transport.abort()
                return
            self._shaken = True
            at = stop + 4
            if not self.opened.done():
                self.opened.set_result(None)
        while at < end:
            here = end - at
            start, size = at + 2, data[at + 1] if here > 1 else 0
            if size == 126 and here >= 4:
                start, size = at + 4, data[at + 2] << 8 | data[at + 3]
            elif size == 127 and here >= 10:
                start, size = at + 10, int.from_bytes(data[at + 2 : at + 10], "big")
            elif here < 2 or size > 125:
                self._head = bytes(data[at:end])
                return
            if end - start < size and end - start < PEEK_BYTES:
                self._head = bytes(data[at:end])
                return
            self._opcode = data[at] & 15
            wanted = self._opcode != TEXT or self.begins(size, data, start)
            stop = start + size
            if stop > end:
                self._pending = stop - end
                self._kept = [bytes(data[start:end])] if wanted else None
                return
            self._kept = [bytes(data[start:stop])] if wanted else None
            self._ends()
            at = stop

    def _ends(self) -> None:
        if self._kept is None:
            self.skipped()
            return
        payload, self._kept = b"".join(self._kept), None
        if self._opcode == TEXT:
            self.text(payload)
        elif self._opcode == PING:
            self.transport.write(masked(payload, PONG))
        elif self._opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big") or 1005
            self.transport.write(masked(payload[:2], CLOSE))
            self.transport.close()


async def open_all(
    clients: Sequence[Client], url: str, subprotocol: str = "", first: int = 0
) -> None:
    """Connect sockets, a limited number at the same time."""
    gate = asyncio.Semaphore(CONCURRENT_HANDSHAKES)

    async def one(client: Client, number: int) -> None:
        async with gate:
            await client.open(url, number, subprotocol)

    await asyncio.gather(*(one(c, first + n) for n, c in enumerate(clients)))
