"""Uvicorn's HTTP protocol with limits on the head of a request.

`uvicorn spectate.asgi:application --http runners.serving.http:BoundedHttp`

Without them, one connection's endless header fills the memory, and unfinished heads,
including stalled handshakes, stay open for ever.
"""

from __future__ import annotations

import asyncio
from asyncio.transports import Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Limits of a request's line and headers, in bytes and in number.
HEAD_LIMIT = 64 * 1024
HEADERS = 100
# How long a head may take, from the connection or from its first byte.
HEAD_TIMEOUT_S = 20.0


class HeadTooBig(Exception):
    """More headers than any client sends; the parser answers 400."""


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose head is late or endless."""

    _in_head = True
    _head_bytes = 0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head:
            return
        # Checked once per chunk. Usual requests have a head of one chunk and need no
        # timer.
        if self._patience is None:
            self._await_head()
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_LIMIT and not self.transport.is_closing():
            self.logger.warning("A request's head exceeds the limit.")
            self.send_400_response("The request's head is too big.")

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS:
            raise HeadTooBig
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_TIMEOUT_S, self._end_patience)

    def _head_came(self) -> None:
        self._in_head = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _end_patience(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            self.transport.close()
