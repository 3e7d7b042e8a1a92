"""Writes encoded frames to a socket, either to its transport or by ASGI `send`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from runners.live.websocket_framing import frame_text

# The ASGI extension that `live/server.py` offers in a websocket's scope.
EXTENSION = "spectate.frames"
# The reason of a close for frames that reach no session. As clients may close with the
# same reason, the server's message to the session has the key `flood` as well.
FLOOD = "Too many pings, pongs or fragments."

# Frames queued for `send` above which a socket without the extension is behind. They
# are queued only if the server's `send` waits for slow sockets.
SEND_QUEUE = 1_000


class SocketWriter(Protocol):
    """The output of one socket.

    `behind`: the peer is slow, and frames written now would be buffered. `on_drained`
    is called each time that a socket that was behind has caught up. `on_texts` is
    called with messages that arrive while `receive` waits, and returns how many of them
    it has handled; the others are received as usual. `has_backpressure`: the server
    stops reading from the peer while its messages are not received.
    """

    on_drained: Callable[[], None]
    on_texts: Callable[[Sequence[str]], int]

    @property
    def behind(self) -> bool: ...

    @property
    def has_backpressure(self) -> bool: ...

    def take_texts(self) -> Sequence[str]:
        """Return the next messages that have been received already, oldest first."""

    def write(self, frames: Sequence[bytes]) -> None:
        """Send encoded frames in order; does nothing if the socket is closed."""

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame after the frames that were written."""

    def abandon(self) -> None:
        """Stop writing, as the peer has disconnected."""


class AsgiWriter:
    """Queues frames for ASGI `send`, for servers without the extension."""

    has_backpressure = False

    def __init__(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self.on_drained: Callable[[], None] = do_nothing
        # Never called, as such a server passes on one message at a time.
        self.on_texts: Callable[[Sequence[str]], int] = handle_none
        self._send = send
        self._queue: deque[bytes] = deque()
        self._close_code: int | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def behind(self) -> bool:
        return len(self._queue) > SEND_QUEUE

    def take_texts(self) -> Sequence[str]:
        return ()

    def write(self, frames: Sequence[bytes]) -> None:
        if self._close_code is None:
            self._queue.extend(frames)
            self._wake()

    def close(self, code: int, reason: str = "") -> None:
        if self._close_code is None:
            # Daphne sends no reason.
            self._close_code = code
            self._wake()

    def abandon(self) -> None:
        self._close_code = self._close_code or 1006
        self._queue.clear()
        if self._writer is not None:
            self._writer.cancel()

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_queued())

    async def _write_queued(self) -> None:
        try:
            while self._queue:
                was_behind = self.behind
                text = frame_text(self._queue.popleft())
                await self._send({"type": "websocket.send", "text": text})
                if was_behind and not self.behind:
                    self.on_drained()
            if self._close_code is not None:
                await self._send_close(self._close_code)
        except Exception:
            # Servers raise different errors for a disconnected peer, and report it by
            # `receive` as well.
            self._queue.clear()
        finally:
            self._writer = None

    async def _send_close(self, code: int) -> None:
        try:
            await self._send({"type": "websocket.close", "code": code})
        except Exception:
            # Daphne accepts no close code below 3000 except 1000.
            await self._send({"type": "websocket.close", "code": 1000})


def handle_none(texts: Sequence[str]) -> int:
    """Handle no message when it arrives: `on_texts` until the session has begun."""
    return 0


def do_nothing() -> None:
    """Do nothing: `on_drained` of a socket without a session."""
