"""A websocket client of which callers control every byte, on asyncio's transport.

The scripts that misbehave build on it, and the load generators, since it is cheap
enough for thousands of sockets on one core: it reads frame headers and the first bytes
of each payload, and assembles only the payloads that a subclass wants. All sockets
must belong to one thread, because they share a buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any, Self, cast
from urllib.parse import urlsplit

import orjson

# Opcodes.
CONTINUATION = 0
TEXT = 1
BINARY = 2
CLOSE = 8
PING = 9
PONG = 10
# Results of `closed` when the connection ended without a close frame, or with one that
# has no code.
ABNORMAL = 1006
NO_CODE = 1005
# Bytes of a frame that are examined before deciding whether to keep it.
PEEK_BYTES = 64
OPEN_TIMEOUT_S = 60
# One buffer for all sockets, because a read ends before the next one starts.
_BUFFER = bytearray(256 * 1024)
_VIEW = memoryview(_BUFFER)


def received_of(size: int) -> bytes:
    """Return the data of the last read."""
    return bytes(_VIEW[:size])


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


class Refused(ConnectionError):
    """The handshake got an HTTP status other than 101; 0 if the connection ended."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class RawClient(asyncio.BufferedProtocol):
    """One socket, which answers pings. Subclasses choose frames and handle them.

    `status` resolves to the HTTP status of the handshake, `closed` to the close code.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.status: asyncio.Future[int] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        self._code = ABNORMAL
        # The beginning of an incomplete frame, or of the handshake's response.
        self._head = b""
        # The frame that is arriving: the bytes left, and the bytes kept.
        self._pending = 0
        self._opcode = 0
        self._kept: list[bytes] | None = None

    # -- for subclasses

    def begins(self, size: int, data: Any, start: int) -> bool:
        """Examine a text frame's first bytes. Return True to receive it completely in
        `received`.
        """
        return True

    def skipped(self) -> None:
        """Handle the end of a frame that `begins` did not want."""

    def received(self, text: bytes) -> None:
        """Handle a frame that `begins` wanted."""

    def lost(self) -> None:
        """Handle the end of the connection."""

    # -- connecting

    async def connect(
        self, url: str, *, source: str | None = None, receive_buffer: int | None = None
    ) -> Self:
        """Connect without a handshake. Raises `OSError`.

        `source` is an address of this machine, `receive_buffer` SO_RCVBUF in bytes.
        """
        loop = asyncio.get_running_loop()
        address = urlsplit(url)
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer is not None:
                # Set before connecting, because it bounds the window offered to the
                # server.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source is not None:
                if hasattr(socket, "IP_BIND_ADDRESS_NO_PORT"):
                    sock.setsockopt(socket.SOL_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
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
        source: str | None = None,
        receive_buffer: int | None = None,
    ) -> Self:
        """Connect and complete the handshake. Raises `OSError` and `Refused`."""
        await self.connect(url, source=source, receive_buffer=receive_buffer)
        self.transport.write(self.request(url, subprotocol))
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            status = await asyncio.shield(self.status)
        if status != 101:
            self.reset()
            raise Refused(status)
        return self

    # -- sending

    def send(self, message: object) -> None:
        self.transport.write(frame(orjson.dumps(message)))

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

    # -- asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Uvloop's transport has the same methods but is not a subclass.
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.status.done():
            self.status.set_result(0)
        if not self.closed.done():
            self.closed.set_result(self._code)
        self.lost()

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
        if not self.status.done():
            at = self._shake(data, size)
        self._read(data, at, size)

    def _shake(self, data: Any, end: int) -> int:
        """Read the status. Return where the first frame begins, or the end."""
        stop = data.find(b"\r\n\r\n", 0, end)
        if stop < 0:
            self._head = bytes(data[:end])
            return end
        self.status.set_result(int(bytes(data[:stop]).split(b" ", 2)[1]))
        return int(stop) + 4

    def _read(self, data: Any, at: int, end: int) -> None:
        """Read the frames that start in `data` from `at` to `end`."""
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
        self.handle(self._opcode, payload)

    def handle(self, opcode: int, payload: bytes) -> None:
        """Handle a complete frame."""
        if opcode == TEXT:
            self.received(payload)
        elif opcode == PING:
            self.transport.write(frame(payload, PONG))
        elif opcode == CLOSE:
            self._code = int.from_bytes(payload[:2], "big") or NO_CODE
            self.transport.write(frame(payload, CLOSE))
            self.transport.close()
