"""Writes encoded frames directly to uvicorn's transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from runners.live.inbox import Inbox
from runners.live.socket_writer import do_nothing, handle_none


class Connection(Protocol):
    """What the writer needs of the protocol."""

    transport: asyncio.Transport
    queue: Inbox
    handshake_complete: bool
    close_sent: bool
    first_frames: bytes

    def close_with(self, code: int, reason: str) -> None: ...


class TransportWriter:
    """A `SocketWriter` that needs no coroutine and no task per frame."""

    __slots__ = ("_inbox", "_protocol", "behind", "on_drained", "on_texts")

    has_backpressure = True

    def __init__(self, protocol: Connection) -> None:
        self._protocol = protocol
        self._inbox = protocol.queue
        self.behind = False
        self.on_drained: Callable[[], None] = do_nothing
        self.on_texts: Callable[[Sequence[str]], int] = handle_none

    def take_texts(self) -> Sequence[str]:
        return self._inbox.take_texts()

    def write(self, frames: Sequence[bytes]) -> None:
        protocol = self._protocol
        transport = protocol.transport
        if not protocol.handshake_complete:
            # One system call for the response and the first frames.
            protocol.first_frames += b"".join(frames)
        elif not protocol.close_sent and not transport.is_closing():
            transport.write(b"".join(frames))

    def close(self, code: int, reason: str = "") -> None:
        self._protocol.close_with(code, reason)

    def abandon(self) -> None:
        """Do nothing: all frames are in the transport."""
