"""The queue of one socket's received messages."""

from __future__ import annotations

import asyncio

from uvicorn._types import ASGIReceiveEvent

# Queued messages at which reading from the socket pauses.
INBOX_LIMIT = 64


class Inbox:
    """A queue of received messages with one reader. Plain texts are queued as such.

    `asyncio.Queue` has three deques and an event, which take 2 KiB per socket.
    """

    __slots__ = ("_in_a_row", "_reader", "messages")

    def __init__(self) -> None:
        self._in_a_row = 0
        self.messages: list[ASGIReceiveEvent | str] = []
        self._reader: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def empty(self) -> bool:
        return not self.messages

    @property
    def awaited(self) -> bool:
        """Return whether the reader waits for the next message."""
        return self._reader is not None and not self._reader.done()

    def put_nowait(self, message: ASGIReceiveEvent | str) -> None:
        self.messages.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> ASGIReceiveEvent:
        self._in_a_row += 1
        if self._in_a_row >= INBOX_LIMIT:
            # A client that sends thousands of messages must not delay the others.
            self._in_a_row = 0
            await asyncio.sleep(0)
        while not self.messages:
            self._in_a_row = 0
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        message = self.messages.pop(0)
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        return message

    def take_texts(self) -> list[str]:
        """Return the texts at the front, at most `INBOX_LIMIT`, without waiting."""
        texts: list[str] = []
        for message in self.messages[:INBOX_LIMIT]:
            if not isinstance(message, str):
                break
            texts.append(message)
        del self.messages[: len(texts)]
        self._in_a_row += len(texts)
        return texts
