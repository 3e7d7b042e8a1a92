"""Uvicorn's HTTP protocol with limits on heads, time and the number of connections.

`uvicorn spectate.asgi:application --http runners.serving.http:BoundedHttp`

Without them, one connection's endless header fills the memory. Unfinished heads, slow
bodies and clients that read nothing stay open for ever, until no descriptor is left.
"""

from __future__ import annotations

import asyncio
import re
from asyncio.transports import Transport
from collections import deque
from typing import Any, ClassVar

from httptools import HttpRequestParser
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from runners.live.connection_constants import constants
from runners.live.handshake import usual_key
from runners.live.server import FrameProtocol
from runners.serving.admission import connection_limit
from runners.serving.bodies import BODY_TIMEOUT_S

# Limits of a request's line and headers, in bytes and in number.
HEAD_LIMIT = 64 * 1024
HEADERS = 100
# Requests that may wait for the response to an earlier one of their connection. Proxies
# and browsers send none; 256 KiB of them would take 30 MiB.
MAX_PIPELINED = 16
# Chunks of a body: this many, and one more per so many bytes. What one read returns
# can have 43,000 of one byte.
MAX_CHUNKS = 1_000
BYTES_PER_CHUNK = 64
# How long a head may take, from the connection or from its first byte.
HEAD_TIMEOUT_S = 20.0
# How long a client may read nothing of a response that it has requested.
STALL_TIMEOUT_S = 60.0
# How long it may take to read the end of a response, or a response to a late body.
ANSWER_TIMEOUT_S = 5.0
# What crowds ask for, several hundred times per second: a line for each in the access
# log takes a sixth of the answer's CPU.
NOT_LOGGED = re.compile(rb"[^?]*/(eta|live)\.json(\?|$)")
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n"
    b"content-type: text/plain\r\n\r\nToo many connections. Try again.\n"
)


class Excessive(Exception):
    """More than any client sends; the parser answers 400."""


class BoundedHttp(HttpToolsProtocol):
    """Ends connections that are late, endless, stalled, or too many."""

    # The plain connections of this process, without websockets.
    open: ClassVar[set[BoundedHttp]] = set()
    _in_head = True
    _in_body = False
    _head_bytes = 0
    _body_bytes = _chunks = 0
    # Whether the request opens a websocket, once that is known.
    _upgrades: bool | None = None
    # The request that is being answered.
    _running: RequestResponseCycle | None = None
    # Limits the time of a head, or of a body.
    _patience: asyncio.TimerHandle | None = None
    # Limits how long the client may read nothing of a response.
    _stall: asyncio.TimerHandle | None = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # As in `FrameProtocol`. Uvicorn's constructor looks up two loggers.
        loop = _loop or asyncio.get_running_loop()
        for name, value in constants(HttpToolsProtocol, config, server_state, loop):
            setattr(self, name, value)
        self.app_state = app_state
        self.parser = HttpRequestParser(self)
        # For a response to the first of several pipelined requests.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.pipeline = deque()

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._has_access_log = self.access_log
        if len(self.open) >= connection_limit():
            transport.write(TOO_MANY)
            self._end()
            return
        self.open.add(self)
        self._be_patient(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._drop_requests()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        # No page is made for a request whose response could not be sent after this.
        self._drop_requests()
        super().send_400_response(msg)

    def _drop_requests(self) -> None:
        self.pipeline.clear()
        if self._running is not None:
            # Of several requests, uvicorn tells only the last one, which has not begun.
            self._running.disconnected = True
            self._running.message_event.set()

    def _start_asgi_task(
        self, cycle: RequestResponseCycle, app: ASGI3Application
    ) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        self._stop_waiting()
        headers = self.headers
        key = usual_key(self.scope["method"], self.url, headers)
        if key is None or self.ws_protocol_class is not FrameProtocol:
            super().handle_websocket_upgrade()
        else:
            self.connections.discard(self)
            protocol = FrameProtocol(self.config, self.server_state, self.app_state)
            protocol.connection_made(self.transport)
            protocol.begin(key, self.url, headers)
            self.transport.set_protocol(protocol)
        # It refers to this object, which would stay until a garbage collection.
        self.parser = None  # type: ignore[assignment]

    def _should_upgrade(self) -> bool:
        # Uvicorn asks three times per handshake.
        if self._upgrades is None:
            self._upgrades = super()._should_upgrade()
        return self._upgrades

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        # Checked once per chunk. Usual requests are one chunk and need no timer.
        if self._patience is None:
            if self._in_head:
                self._be_patient(HEAD_TIMEOUT_S)
            elif self._in_body:
                self._be_patient(BODY_TIMEOUT_S + ANSWER_TIMEOUT_S)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_LIMIT and not self.transport.is_closing():
            self.logger.warning("A request's head exceeds the limit.")
            self.send_400_response("The request's head is too big.")

    def on_message_begin(self) -> None:
        self._in_head, self._upgrades = True, None
        self._head_bytes = self._body_bytes = self._chunks = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS:
            raise Excessive
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        self._cancel_patience()
        self.access_log = self._has_access_log and not NOT_LOGGED.match(self.url)
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            raise Excessive

    def on_body(self, body: bytes) -> None:
        self._chunks += 1
        self._body_bytes += len(body)
        if self._chunks > MAX_CHUNKS + self._body_bytes // BYTES_PER_CHUNK:
            raise Excessive
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._cancel_patience()
        super().on_message_complete()
        # None before the upgrade of a first request.
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_complete:
            # The response came first, and uvicorn's time between requests has ended
            # with the rest of the body.
            self._be_patient(HEAD_TIMEOUT_S)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_soon()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(STALL_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        # A closing connection may still have a rest that nobody reads.
        if not self.transport.is_closing():
            self._cancel_stall()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._end()

    def _be_patient(self, seconds: float) -> None:
        self._patience = self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        self._cancel_patience()
        self.transport.close()
        self._abort_soon()

    def _abort_soon(self) -> None:
        """End a closed connection, even if the client does not read the rest."""
        self._cancel_stall()
        self._stall = self.loop.call_later(ANSWER_TIMEOUT_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        self.open.discard(self)
        self._in_head = self._in_body = False
        self._cancel_patience()
        self._cancel_stall()

    def _cancel_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _cancel_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
