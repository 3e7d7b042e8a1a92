"""A socket writer that records the frames written to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from runners.live.socket_writer import handle_none
from runners.live.websocket_framing import frame_text


class RecordingWriter:
    """A `SocketWriter` whose peer reads only while `behind` is false."""

    def __init__(self) -> None:
        self.behind = self.has_backpressure = False
        self.on_drained: Callable[[], None] = lambda: None
        self.on_texts: Callable[[Sequence[str]], int] = handle_none
        self.writes: list[Sequence[bytes]] = []
        self.code: int | None = None

    def take_texts(self) -> Sequence[str]:
        return ()

    def write(self, frames: Sequence[bytes]) -> None:
        self.writes.append(list(frames))

    def close(self, code: int, reason: str = "") -> None:
        self.code = code

    def abandon(self) -> None:
        self.code = 1006

    def drain(self) -> None:
        self.behind = False
        self.on_drained()

    @property
    def messages(self) -> list[Any]:
        return [json.loads(frame_text(f)) for frames in self.writes for f in frames]
