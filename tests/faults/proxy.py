"""TCP proxies that can be cut for some seconds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Self

from tests.faults.randomness import new_rng


class Line:
    """A port that forwards each connection to a randomly chosen server.

    While the line is cut, new connections are reset immediately. Open ones are reset at
    the beginning of the cut, or at its end after all data in between was discarded.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = ports
        self.cuts = 0
        self.silent = False
        self._down = 0
        self._pairs: set[_Half] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.rng = new_rng()

    async def open(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Half(self), host="127.0.0.1", port=0
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def cut(self, seconds: float, *, silently: bool) -> None:
        """Forward nothing for some seconds."""
        self.cuts += 1
        self._down += 1
        self.silent = silently
        try:
            if not silently:
                self._reset_all()
            await asyncio.sleep(seconds)
        finally:
            self._reset_all()
            self._down -= 1

    @property
    def down(self) -> bool:
        return self._down > 0

    def _reset_all(self) -> None:
        for half in list(self._pairs):
            half.reset()

    async def close(self) -> None:
        self._reset_all()
        if self._server is not None:
            self._server.close()


class _Half(asyncio.Protocol):
    """One of the two connections of a forwarded connection."""

    transport: asyncio.Transport

    def __init__(self, line: Line, other: _Half | None = None) -> None:
        self.line = line
        self.other = other
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.line._pairs.add(self)
        if self.other is None:
            if self.line.down:
                self.reset()
            else:
                asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        port = self.line.rng.choice(self.line.ports)
        try:
            _, self.other = await loop.create_connection(
                lambda: _Half(self.line, self), "127.0.0.1", port
            )
        except OSError:
            self.reset()
            return
        for data in self._early:
            self.other.transport.write(data)
        if self.transport.is_closing():
            self.other.reset()

    def data_received(self, data: bytes) -> None:
        if self.line.down:
            return
        if self.other is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        self._flow(lambda other: other.transport.pause_reading())

    def resume_writing(self) -> None:
        self._flow(lambda other: other.transport.resume_reading())

    def _flow(self, change: Callable[[_Half], None]) -> None:
        if self.other is not None:
            with contextlib.suppress(RuntimeError):
                change(self.other)

    def connection_lost(self, error: Exception | None) -> None:
        self.line._pairs.discard(self)
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.close()

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self.transport.abort()
