"""How ready frames reach a socket: straight into the transport, or by ASGI `send`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from runners.live.frames import frame_text

# The ASGI extension that `live/server.py` offers in a websocket's scope.
EXTENSION = "spectate.frames"

# Frames waiting for `send` beyond which a socket without the extension is behind.
# Only a server whose `send` waits for a slow socket lets them pile up.
SEND_QUEUE = 1_000


class Wire(Protocol):
    """One socket's way out. `behind`: what is written now would only wait.

    `on_drained` is called each time a socket that was behind has caught up. `more`: the
    socket's next message is here already.
    """

    on_drained: Callable[[], None]

    @property
    def more(self) -> bool: ...

    @property
    def behind(self) -> bool: ...

    def write(self, frames: Sequence[bytes]) -> None:
        """Send ready frames in order; does nothing on a socket that is closed."""

    def close(self, code: int) -> None:
        """Send what was written, then a close frame."""

    def abandon(self) -> None:
        """Stop writing: the peer has gone."""


class SendWire:
    """ASGI `send` behind a queue, for servers without the extension."""

    # These do not tell.
    more = False

    def __init__(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self.on_drained: Callable[[], None] = _nothing
        self._send = send
        self._queue: deque[bytes] = deque()
        self._close_code: int | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def behind(self) -> bool:
        return len(self._queue) > SEND_QUEUE

    def write(self, frames: Sequence[bytes]) -> None:
        if self._close_code is None:
            self._queue.extend(frames)
            self._wake()

    def close(self, code: int) -> None:
        if self._close_code is None:
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
            # Servers raise all sorts when the peer has gone; `receive` says so too.
            self._queue.clear()
        finally:
            self._writer = None

    async def _send_close(self, code: int) -> None:
        try:
            await self._send({"type": "websocket.close", "code": code})
        except Exception:
            # Daphne takes no code below 3000 but 1000.
            await self._send({"type": "websocket.close", "code": 1000})


def _nothing() -> None:
    pass
