"""Uvicorn's websocket protocol, offering ready frames to the application.

`uvicorn spectate.asgi:application --ws runners.live.server:FrameProtocol`

The scope's extension `spectate.frames` is a `Frames`: a write joins what a socket is
owed into one call on the transport, and `behind` says when the peer does not keep up.
Uvicorn is pinned exactly; tests/live/test_server.py fails when its internals change.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable, Sequence
from typing import Any

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from websockets.protocol import State
from websockets.speedups import apply_mask
from websockets.streams import StreamReader

from runners.live.wire import EXTENSION

# A stalled peer's backlog must show in our buffers, where it is merged away, not hide
# in megabytes of the kernel's. Bytes.
KERNEL_BUFFER = 64 * 1024
KERNEL_UNSENT = 16 * 1024
# What may wait in the transport before a socket is behind. Bytes.
BEHIND = 32 * 1024
# How long a peer has to read a close frame before the connection is cut. Seconds.
CLOSE_TIMEOUT = 5.0
# How long a peer that broke the protocol must be silent to be done sending. Seconds.
QUIET = 0.3
# Messages that may wait for the application before reading stops, each of them small;
# one that is larger stops it alone. Bytes.
INBOX, SMALL = 64, 1024
# First byte of an unfragmented text frame; least second byte of a masked one.
PLAIN_TEXT, MASKED = 0x81, 0x80


class Frames:
    """One socket's `Wire`, without a coroutine or a task a frame."""

    __slots__ = ("_inbox", "_protocol", "behind", "on_drained")

    def __init__(self, protocol: FrameProtocol) -> None:
        self._protocol = protocol
        self._inbox: Inbox = protocol.queue
        self.behind = False
        self.on_drained: Callable[[], None] = _nothing

    @property
    def more(self) -> bool:
        waiting = self._inbox.messages
        return bool(waiting) and waiting[0]["type"] == "websocket.receive"

    def write(self, frames: Sequence[bytes]) -> None:
        protocol = self._protocol
        if protocol.conn.state is State.OPEN and not protocol.transport.is_closing():
            protocol.transport.write(b"".join(frames))

    def buffered(self) -> int:
        """Return how many bytes wait in the transport."""
        return self._protocol.transport.get_write_buffer_size()

    def close(self, code: int) -> None:
        self._protocol.close_with(code)

    def abandon(self) -> None:
        """Nothing waits here: the transport has it all."""


class Inbox:
    """What waits for the application: a queue with one reader.

    `asyncio.Queue` holds three deques and an event, 2 KiB a socket.
    """

    __slots__ = ("_in_a_row", "_reader", "messages")

    def __init__(self) -> None:
        self._in_a_row = 0
        self.messages: list[ASGIReceiveEvent] = []
        self._reader: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def empty(self) -> bool:
        return not self.messages

    def put_nowait(self, message: ASGIReceiveEvent) -> None:
        self.messages.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> ASGIReceiveEvent:
        self._in_a_row += 1
        if self._in_a_row >= INBOX:
            # One who sends thousands at once must not keep all others waiting.
            self._in_a_row = 0
            await asyncio.sleep(0)
        while not self.messages:
            self._in_a_row = 0
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self.messages.pop(0)


class FrameProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol with the extension and no way to hang on a stalled peer."""

    wire: Frames
    _broken = False
    # The start of a plain frame of which the rest is to come.
    _rest = b""
    _abort_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue: Any = Inbox()

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.wire = Frames(self)
        self.transport.set_write_buffer_limits(high=BEHIND)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                sock.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_UNSENT
                )

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.wire.behind = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.wire.behind = False
        self.wire.on_drained()

    def data_received(self, data: bytes) -> None:
        if self._broken:
            # What comes after a broken frame means nothing.
            self._close_when_quiet()
            return
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self._between_frames():
            data = self._take_plain(data)
        if data:
            super().data_received(data)

    def _between_frames(self) -> bool:
        """Tell whether websockets' parser waits for the first byte of a message."""
        conn = self.conn
        if conn.state is not State.OPEN or conn.expect_continuation_frame:
            return False
        if self.close_sent:
            return False
        # The server's parser delegates to the one of both sides, and that to a reader.
        waiting_in: Any = conn.parser
        while (inner := waiting_in.gi_yieldfrom) is not None:
            waiting_in = inner
        return bool(waiting_in.gi_code is StreamReader.at_eof.__code__)

    def _take_plain(self, data: bytes) -> bytes:
        """Read small masked text frames in one piece, which is what clients send.

        Returns what comes after them, for websockets' parser, which would take 12 us
        for each; this takes one. The start of such a frame waits in `_rest`.
        """
        at, end = 0, len(data)
        while at < end and data[at] == PLAIN_TEXT:
            here = end - at
            size, start = data[at + 1] - MASKED if here > 1 else 0, at + 6
            if size == 126 and here > 3:
                size, start = data[at + 2] << 8 | data[at + 3], at + 8
            elif size == 127:
                break
            if not 0 <= size <= SMALL:
                break
            stop = start + size
            if stop > end:
                self._rest = data[at:]
                return b""
            try:
                text = apply_mask(data[start:stop], data[start - 4 : start]).decode()
            except UnicodeDecodeError:
                break
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
            at = stop
        if len(self.queue) >= INBOX and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        return data[at:]

    def start_keepalive(self) -> None:
        super().start_keepalive()
        # The handshake is over; its headers would take 4 KiB of each socket.
        del self.request, self.response

    def send_receive_event_to_app(self) -> None:
        # Uvicorn stops reading after each message and starts again once it is taken:
        # two system calls a message.
        small = sum(map(len, self.frames)) <= SMALL
        if self.read_paused or not small:
            super().send_receive_event_to_app()
            return
        self.read_paused = True
        super().send_receive_event_to_app()
        self.read_paused = False
        if len(self.queue) >= INBOX:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_parser_exception(self) -> None:
        assert self.conn.close_sent is not None
        self._broken = self.close_sent = True
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": self.conn.close_sent.code}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._close_when_quiet()
        self._abort_soon()

    def _close_when_quiet(self) -> None:
        """Close once the peer sends no more.

        At once, as uvicorn does, what is still on its way would reset the connection
        before the peer has read why.
        """
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(QUIET, self.transport.close)

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[EXTENSION] = self.wire
        try:
            await super().run_asgi()
        finally:
            # Uvicorn closes the transport here, which waits for a flush that a
            # stalled peer never allows.
            self._abort_soon()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._abort_soon()

    def shutdown(self) -> None:
        super().shutdown()
        self._abort_soon()

    def close_with(self, code: int) -> None:
        """Send a close frame after what was written, without waiting for a flush."""
        if self.conn.state is not State.OPEN or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            # So that the peer's answer is read, which ends the connection.
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def _abort_soon(self) -> None:
        if self._abort_timer is None and not self.disconnected:
            self._abort_timer = self.loop.call_later(
                CLOSE_TIMEOUT, self.transport.abort
            )


def _nothing() -> None:
    pass
