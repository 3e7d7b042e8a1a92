"""What scenes are played with: a cast, and a server that they speak to."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api.capture import Capture
from tests.api.requests import Requests
from tests.api.scenes.cast import Cast
from tests.clients import Message


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fix(ago: float = 0, lat: float = 48.0, lng: float = 2.0, **more: Any) -> Any:
    """Make a fix of so many milliseconds ago."""
    return {"t": now_ms() - round(ago), "lat": lat, "lng": lng, **more}


def says(**fields: Any) -> Callable[[Message], bool]:
    """Tell messages by what is in them."""
    return lambda message: fields.items() <= message.items()


class Stage:
    """A server, its database and the cast."""

    def __init__(self, capture: Capture, cast: Cast) -> None:
        self.capture = capture
        self.joined = capture.joined
        self.adatabase = capture.server.adatabase
        self.cast = cast
        self.tokens, self.links, self.cookies = cast.tokens, cast.links, cast.cookies
        self.requests = Requests(capture, cast)


Scene = Callable[[Stage], Awaitable[None]]
