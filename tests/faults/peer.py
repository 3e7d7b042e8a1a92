"""A spectator or phone that can misbehave, and keeps what it receives in a queue."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Callable
from typing import Any

from tests.waiting import within
from tests.websocket import CLOSE, RawClient, frame

SUBPROTOCOLS = {"seed": None, "v1": "spectate.v1"}


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll a condition every 50 ms and return whether it became true in time."""
    deadline = time.monotonic() + seconds
    while True:
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)


class Peer(RawClient):
    """A client's socket that queues texts in `inbox`."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()

    def send_raw(self, data: bytes) -> None:
        self.transport.write(data)

    async def leave(self) -> int:
        """Send a close frame and return the code that the server answers with."""
        self.transport.write(frame(struct.pack("!H", 1000), CLOSE))
        try:
            return await within(asyncio.shield(self.closed))
        finally:
            self.transport.abort()

    def received(self, text: bytes) -> None:
        """Queue a text. Subclasses that count messages override this."""
        self.inbox.put_nowait(text)

    async def message(self, seconds: float = 10) -> dict[str, Any]:
        """Return the next message."""
        text = await within(self.inbox.get(), seconds)
        message: dict[str, Any] = json.loads(text)
        return message

    def drain(self) -> list[dict[str, Any]]:
        """Return the messages that have arrived."""
        messages = []
        while not self.inbox.empty():
            messages.append(json.loads(self.inbox.get_nowait()))
        return messages


async def open_peer(url: str, dialect: str = "seed") -> Peer:
    """Connect a well-behaved peer. In the typed dialect, the `welcome` is read."""
    peer = await Peer().open(url, SUBPROTOCOLS[dialect])
    if dialect == "v1":
        assert (await peer.message())["type"] == "welcome"
    return peer
