"""The messages of one open websocket, from its handshake to its end.

A dialect parses and handles each message. The loop closes the sockets of clients that
are silent, and of those that send what no client of ours does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from django.conf import settings

from runners import database
from runners.consumers import handshake
from runners.consumers.dialect import Dialect
from runners.consumers.session import Session, failed
from runners.live.close_codes import (
    FRAME_TOO_BIG,
    INTERNAL_ERROR,
    NOT_OUR_PROTOCOL,
    NOT_SIGNED_IN,
    OVERLOADED,
    SILENT,
    TOO_FAST,
)
from runners.live.encoding.ids import RunnerIdError
from runners.live.socket_writer import do_nothing, handle_none
from runners.positions.validation import FixError
from runners.units.errors import CodedError

logger = logging.getLogger(__name__)

# How long the next messages of a socket wait after a refusal for their rate. Meanwhile
# nothing is read from it: otherwise answering a flood takes a third of a core.
PAUSE_S = 0.25

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class MessageLoop:
    """Receives the messages of a session's socket, and has its dialect handle them."""

    __slots__ = (
        "_dialect",
        "_frame_limit",
        "_handling",
        "_rates",
        "_session",
        "_silence_timer",
        "_writer",
    )

    def __init__(self, session: Session, dialect: Dialect) -> None:
        self._session, self._dialect = session, dialect
        self._rates, self._writer = session.rates, session.outbox.writer
        # Django's settings take longer to read than the rest of a check.
        self._frame_limit: int = settings.SPECTATE_FRAME_LIMIT
        self._silence_timer: asyncio.TimerHandle | None = None
        self._handling = False

    async def run(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve a socket that has sent `websocket.connect`, until it closes."""
        session, writer = self._session, self._writer
        session.open(self._dialect)
        try:
            await self._connect(scope, send)
            # They would take 1 KiB for as long as the socket is open.
            scope["headers"] = ()
            writer.on_texts = self._receive_texts
            while True:
                message = await receive()
                if self._rates.is_too_fast:
                    self._rates.is_too_fast = False
                    await asyncio.sleep(PAUSE_S)
                if message["type"] == "websocket.disconnect":
                    if message.get("flood"):
                        session.process.admission.count_flood(session.network)
                    writer.abandon()
                    break
                if (text := message.get("text")) is None:
                    detail = "Send text frames with JSON."
                    self._refuse_frame(NOT_OUR_PROTOCOL, "message.invalid", detail)
                    continue
                for each in (text, *writer.take_texts()):
                    if (rest := self._receive(each)) is not None:
                        await rest
                if (rest := self._dialect.handled()) is not None:
                    await rest
        except Exception:
            logger.exception("A websocket was closed after an error")
            session.outbox.close(INTERNAL_ERROR)
        finally:
            # Also after a handshake that failed.
            self._confirm_protocol()
            session.close()
            self._dialect.closed()
            # Reference cycles of the loop and the outbox.
            writer.on_drained, writer.on_texts = do_nothing, handle_none

    async def _connect(self, scope: dict[str, Any], send: Send) -> None:
        session = self._session
        key, token = handshake.session_of(scope), handshake.handshake_token(scope)
        anonymous = not key and token is None
        # Only our writer can keep a frame until the handshake is accepted.
        if early := anonymous and self._writer.has_backpressure:
            self._dialect.connected()
            # Written with the response to the handshake.
            session.outbox.flush_events()
        await send(
            {"type": "websocket.accept", "subprotocol": self._dialect.subprotocol}
        )
        self._await_message()
        if early:
            return
        try:
            if key:
                await session.sign_in(key)
            if token is not None:
                await session.authenticate(token)
                self._confirm_protocol()
        except database.DatabaseUnavailable:
            session.send_store_unavailable()
            session.outbox.close(OVERLOADED)
        except CodedError as error:
            session.send_error(error)
            session.outbox.close(
                TOO_FAST if error.code == "socket.limit" else NOT_SIGNED_IN
            )
        self._dialect.connected()

    def _receive(self, text: str) -> Awaitable[None] | None:
        """Handle a message, or return what handles it."""
        if len(text) > self._frame_limit:
            self._refuse_frame(
                FRAME_TOO_BIG,
                "message.too_big",
                f"A frame may have at most {self._frame_limit:,} bytes.",
            )
            return None
        command: Any = None
        try:
            command = self._dialect.parse(text)
            rest = self._dialect.handle(command)
        except Exception as error:
            self._report(error, command)
            return None
        if rest is not None:
            return self._finish(rest, command)
        if self._silence_timer is not None:
            self._confirm_protocol()
        return None

    def _receive_texts(self, texts: Sequence[str]) -> int:
        """Handle messages up to one that has to wait; return their number."""
        handled = 0
        for text in texts:
            if (
                self._rates.is_too_fast
                or len(text) > self._frame_limit
                or not self._dialect.handle_text(text)
            ):
                break
            handled += 1
        if handled and self._silence_timer is not None:
            self._confirm_protocol()
        return handled

    async def _finish(self, rest: Awaitable[None], command: Any) -> None:
        self._handling = True
        try:
            await rest
        except Exception as error:
            self._report(error, command)
        else:
            self._confirm_protocol()
        finally:
            self._handling = False

    def _report(self, error: Exception, command: Any) -> None:
        """Send an error of a message to its sender only."""
        session = self._session
        if isinstance(error, FixError):
            session.refuse_fix(error, command)
        elif isinstance(error, CodedError):
            session.send_error(error, command)
        elif isinstance(error, RunnerIdError):
            session.send_error(CodedError("runner.invalid", str(error)), command)
        elif isinstance(error, database.DatabaseUnavailable):
            # The message was valid, so a client that waits for the database is not
            # silent.
            self._confirm_protocol()
            session.send_store_unavailable(command)
        else:
            logger.error("A websocket message could not be handled", exc_info=error)
            session.send_error(failed(), command)

    def _refuse_frame(self, close_code: int, code: str, detail: str) -> None:
        """Close the socket for a frame that no client of ours sends."""
        self._session.send_error(CodedError(code, detail))
        self._session.outbox.close(close_code)

    def _await_message(self) -> None:
        """Close the socket if the client sends no valid message in time."""
        self._silence_timer = self._session.process.hub.loop.call_later(
            settings.SPECTATE_FIRST_MESSAGE, self._close_silent
        )

    def _close_silent(self) -> None:
        if self._handling:
            # The client has sent a message. In a crowd, a follow takes some time.
            self._await_message()
        else:
            self._session.outbox.close(SILENT)

    def _confirm_protocol(self) -> None:
        """Record that the client has sent a valid message and may be silent now."""
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None
