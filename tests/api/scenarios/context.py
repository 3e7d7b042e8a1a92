"""The context of scenarios: a server with its rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from runners.units.clock import now_ms
from tests.api.capture import Capture
from tests.api.requests import Requests
from tests.api.scenarios.rows import Rows
from tests.clients import Message


def fix(ago: float = 0, lat: float = 48.0, lng: float = 2.0, **more: Any) -> Any:
    """Make a fix of `ago` milliseconds ago."""
    return {"t": now_ms() - round(ago), "lat": lat, "lng": lng, **more}


def has_fields(**fields: Any) -> Callable[[Message], bool]:
    """Return a condition for messages with these fields."""
    return lambda message: fields.items() <= message.items()


class Context:
    """A server, its database and the rows."""

    def __init__(self, capture: Capture, rows: Rows) -> None:
        self.capture = capture
        self.joined = capture.joined
        self.adatabase = capture.server.adatabase
        self.rows = rows
        self.tokens, self.links, self.cookies = rows.tokens, rows.links, rows.cookies
        self.requests = Requests(capture, rows)


Scenario = Callable[[Context], Awaitable[None]]
