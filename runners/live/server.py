"""Uvicorn's websocket protocol, with an extension to write encoded frames.

`uvicorn spectate.asgi:application --ws runners.live.server:FrameProtocol`

The scope's extension `spectate.frames` is a `TransportWriter`: one write joins a
socket's queued frames into one call on the transport, and `behind` is true for a slow
peer. Uvicorn is pinned exactly; tests/live/test_server.py fails when its internals
change.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from asyncio.transports import BaseTransport
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent, WebSocketAcceptEvent
from uvicorn.config import Config
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.protocol import Protocol, State
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from runners.live.close_codes import TOO_FAST
from runners.live.connection_constants import constants
from runners.live.handshake import Headers, scope_of, switching_protocols
from runners.live.inbox import INBOX_LIMIT, Inbox
from runners.live.keepalive import PingedSocket, keepalive_of
from runners.live.plain_frames import (
    MAX_CONTROL_BYTES,
    SMALL_BYTES,
    parse_plain_frames,
)
from runners.live.socket_writer import EXTENSION, FLOOD
from runners.live.transport_writer import TransportWriter

# Small kernel buffers, so that a stalled peer's backlog builds up in the outbox, where
# positions are merged.
KERNEL_BUFFER_BYTES = 64 * 1024
KERNEL_UNSENT_BYTES = 16 * 1024
# Bytes in the transport's buffer above which a socket is behind.
BEHIND_BYTES = 32 * 1024
# How long a peer may take to read a close frame before the connection is aborted.
CLOSE_TIMEOUT_S = 5.0
# How long a peer that broke the protocol must be silent before it is disconnected.
QUIET_S = 0.3
# Bytes that websockets' parser is given at a time: at most 170 frames, 0.7 ms.
SLICE_BYTES = 1024
# Bytes that are parsed after a close, for the peer's close frame behind its messages.
MAX_BYTES_AFTER_CLOSE = 4 * 1024
# Pings, pongs and small fragments that a peer may send in a period. They reach no
# session, so that no rate of its messages limits them.
MAX_CONTROL_FRAMES = 100
CONTROL_PERIOD_S = 10.0
# `writable` of the sockets that have never been behind: an event takes 0.7 KiB.
NEVER_PAUSED = asyncio.Event()
NEVER_PAUSED.set()
NEVER_PINGED: set[PingedSocket] = set()


class FrameProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol with the extension; a stalled peer cannot block it."""

    # With more than 30 other attributes, instances do not share the keys of their
    # `__dict__`: 1.3 KiB more per socket.
    __slots__ = (
        *("close_sent", "disconnected", "frames", "handshake_complete", "loop"),
        *("queue", "read_paused", "scope", "transport", "writable", "writer"),
        *("pending_ping_payload", "ping_group", "ping_step"),
    )
    ping_step: int
    writer: TransportWriter
    # Frames that were written before the handshake is accepted.
    first_frames = b""
    _conn: ServerProtocol | None = None
    # The key of a handshake that was not parsed by websockets.
    _key = b""
    _broken = False
    # What has to be parsed before the next data: the start of a plain frame that has
    # not been received completely, or what came before reading paused.
    _rest = b""
    _control_frames = 0
    _control_since = 0.0
    _bytes_after_close = 0
    # Whether websockets' parser is known to wait for the first byte of a message.
    _parser_waits = False
    _abort_timer: asyncio.TimerHandle | None = None

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        # Not by uvicorn's constructor, which makes a queue, an event and a parser for
        # each socket. A visit uses none of them.
        loop = asyncio.get_running_loop()
        for name, value in constants(
            WebSocketsSansIOProtocol, config, server_state, loop
        ):
            setattr(self, name, value)
        self.app_state = app_state
        self.default_headers = server_state.default_headers
        self.frames = []
        self.queue: Any = Inbox()
        self.writable = NEVER_PAUSED
        self.ping_group = NEVER_PINGED

    @property
    def conn(self) -> ServerProtocol:  # type: ignore[override]
        """Websockets' parser, made for everything but usual handshakes and texts."""
        if (conn := self._conn) is None:
            conn = ServerProtocol(max_size=self.config.ws_max_size, logger=self.logger)
            if self.handshake_initiated:
                # As after a request that websockets has parsed.
                conn.parser = Protocol.parse(conn)
                next(conn.parser)
            if self.handshake_complete:
                conn.state = State.OPEN
            self._conn = conn
        return conn

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.writer = TransportWriter(self)
        self.transport.set_write_buffer_limits(high=BEHIND_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                sock.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_UNSENT_BYTES
                )

    def begin(self, key: bytes, url: bytes, headers: Headers) -> None:
        """Start the application for a handshake that the HTTP protocol has parsed.

        Uvicorn writes the request again, for websockets to parse and check it: half
        of the cost of a handshake.
        """
        self._key = key
        self.handshake_initiated = True
        self.scope = scope_of(self, url, headers)
        self.queue.put_nowait({"type": "websocket.connect"})
        task = self.loop.create_task(self.run_asgi())
        task.add_done_callback(self.on_task_complete)
        self.tasks.add(task)

    async def receive(self) -> ASGIReceiveEvent:
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            if self._rest:
                self.data_received(b"")
            if not self.read_paused:
                self.transport.resume_reading()
        message: ASGIReceiveEvent = await self.queue.get()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] != "websocket.accept" or self.disconnected or not self._key:
            await super().send(message)
            if self.handshake_complete and self.first_frames:
                self.writer.write((self.first_frames,))
                self.first_frames = b""
            # Otherwise uvicorn logs an error for each handshake refused by a response.
            self.handshake_complete |= self.close_sent
        elif not self.transport.is_closing():
            self._accept(message)

    def _accept(self, message: WebSocketAcceptEvent) -> None:
        if self.logger.isEnabledFor(logging.INFO):
            self.logger.info(
                '%s - "WebSocket %s" [accepted]',
                get_client_addr(self.scope),
                get_path_with_query_string(self.scope),
            )
        headers = [*self.default_headers, *message.get("headers", ())]
        if subprotocol := message.get("subprotocol"):
            headers.append((b"Sec-WebSocket-Protocol", subprotocol.encode()))
        response = switching_protocols(self._key, headers)
        self.transport.write(response + self.first_frames)
        self._key = self.first_frames = b""
        self.handshake_complete = self._parser_waits = True
        if self._conn is not None:
            self._conn.state = State.OPEN
        super().start_keepalive()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)
        # Reference cycles, which would wait for a full garbage collection: with 8,000
        # visitors one takes most of a second.
        if self._conn is not None:
            self._conn.parser.close()
        del self.writer

    def pause_writing(self) -> None:
        self.writable = asyncio.Event()
        self.writer.behind = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.writer.behind = False
        self.writer.on_drained()

    def data_received(self, data: bytes) -> None:
        if self._broken:
            self._close_when_quiet()
            return
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self.handshake_initiated and not self.handshake_complete:
            # No client may send before it is accepted, which takes time after a flood.
            self._rest, self.read_paused = data, True
            self.transport.pause_reading()
            return
        pong: bytes | None = b""
        while data and pong is not None and self._between_frames():
            texts, pong, data, is_cut = parse_plain_frames(data)
            if texts:
                self._pass_on(texts)
            if pong is not None:
                self._receive_pong(pong)
            elif is_cut:
                self._rest = data
                return
        while data and not self._broken:
            if self.read_paused:
                self._rest = data
                break
            if self._floods_after_close(data):
                self._ignore_peer()
                break
            self._parser_waits = False
            super().data_received(data[:SLICE_BYTES])
            data = data[SLICE_BYTES:]

    def _floods_after_close(self, data: bytes) -> bool:
        """Return whether more came since the close than a close frame takes."""
        if not self.close_sent:
            return False
        floods = self._bytes_after_close + len(data) > MAX_BYTES_AFTER_CLOSE
        self._bytes_after_close += min(len(data), SLICE_BYTES)
        return floods

    def _between_frames(self) -> bool:
        """Return whether websockets' parser waits for the first byte of a message."""
        if self.close_sent:
            return False
        if self._parser_waits:
            return True
        conn = self.conn
        if conn.state is State.OPEN and not conn.expect_continuation_frame:
            # The server's parser delegates to a common parser, and that to a reader.
            waiting_in: Any = conn.parser
            while (inner := waiting_in.gi_yieldfrom) is not None:
                waiting_in = inner
            self._parser_waits = waiting_in.gi_code is StreamReader.at_eof.__code__
        return self._parser_waits

    def _pass_on(self, texts: list[str]) -> None:
        """Have texts handled by a call if the application waits for them, else queue
        them.

        A call saves waking the application's task, which takes longer than most texts.
        """
        if len(texts) <= INBOX_LIMIT and self.queue.awaited:
            del texts[: self.writer.on_texts(texts)]
        for text in texts:
            self.queue.put_nowait(text)
        if len(self.queue) >= INBOX_LIMIT and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def schedule_ping(self) -> None:
        assert self.ping_interval is not None
        keepalive_of(self.loop, self.ping_interval, self.ping_timeout).add(self)

    def stop_keepalive(self) -> None:
        self.ping_group.discard(self)

    def handle_ping(self) -> None:
        super().handle_ping()
        self._count_control_frame()

    def handle_pong(self, event: Frame) -> None:
        self._receive_pong(event.data)

    def _receive_pong(self, content: bytes | bytearray | memoryview) -> None:
        if content == self.pending_ping_payload:
            self.pending_ping_payload = None
        else:
            self._count_control_frame()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(event.data) <= MAX_CONTROL_BYTES:
            self._count_control_frame()

    def _count_control_frame(self) -> None:
        """Count a frame that no session sees; close the socket if they are too many."""
        now = self.loop.time()
        if now - self._control_since > CONTROL_PERIOD_S:
            self._control_since, self._control_frames = now, 0
        self._control_frames += 1
        if self._control_frames > MAX_CONTROL_FRAMES and not self._broken:
            self.close_with(TOO_FAST, FLOOD)

    def start_keepalive(self) -> None:
        super().start_keepalive()
        # The handshake is over, and its headers take 4 KiB per socket.
        del self.request, self.response

    def send_receive_event_to_app(self) -> None:
        # Uvicorn pauses reading after each message and resumes when the application
        # receives it: two system calls per message.
        small = sum(map(len, self.frames)) <= SMALL_BYTES
        if self.read_paused or not small:
            super().send_receive_event_to_app()
            return
        self.read_paused = True
        super().send_receive_event_to_app()
        self.read_paused = False
        if len(self.queue) >= INBOX_LIMIT and not self.close_sent:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_parser_exception(self) -> None:
        assert self.conn.close_sent is not None
        self.close_sent = True
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": self.conn.close_sent.code}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._ignore_peer()

    def _ignore_peer(self) -> None:
        """Parse nothing more: after a broken frame, or the flood of a closed socket."""
        self._broken, self._rest = True, b""
        self._close_when_quiet()
        self._abort_soon()

    def _close_when_quiet(self) -> None:
        """Close once the peer has stopped sending.

        With uvicorn's immediate close, data in flight would reset the connection
        before the peer has read the close code.
        """
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(QUIET_S, self.transport.close)

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[EXTENSION] = self.writer
        try:
            await super().run_asgi()
        finally:
            # Uvicorn closes the transport here, which waits for a flush: with a
            # stalled peer, for ever.
            self._abort_soon()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._abort_soon()

    def shutdown(self) -> None:
        super().shutdown()
        self._abort_soon()

    def close_with(self, code: int, reason: str) -> None:
        """Send a close frame after the written frames, without waiting for a flush."""
        if self.transport.is_closing() or self.conn.state is not State.OPEN:
            return
        disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self.queue.put_nowait(disconnect | {"flood": reason == FLOOD})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)
        if self.read_paused:
            # Reads the peer's close frame, which ends the connection.
            self.read_paused = False
            self.transport.resume_reading()
            if self._rest:
                self.data_received(b"")

    def _abort_soon(self) -> None:
        if self._abort_timer is None and not self.disconnected:
            self._abort_timer = self.loop.call_later(
                CLOSE_TIMEOUT_S, self.transport.abort
            )
