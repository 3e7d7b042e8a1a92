"""A request as an app's code builds it, and the expected result.

Ids and positions are made up. TOKEN stands for the token, BASIC for user and token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.intake.phones import MS

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
BEARER = {"Authorization": "Bearer TOKEN"}


def fix(t: int = MS, **more: float | None) -> dict[str, Any]:
    """Return a stored fix; fields that are not given are unknown."""
    unknown = dict.fromkeys(("accuracy", "altitude", "speed", "heading", "battery"))
    return {"t": t, "lat": 53.3566, "lng": -6.3285} | unknown | more


@dataclass(frozen=True)
class Case:
    """A request, the stored fixes in SI units, and the exact reply."""

    name: str
    path: str
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    stored: tuple[dict[str, Any], ...] = ()
    status: int = 200
    reply: bytes = b""
    app: str = ""
    reasons: dict[str, int] = field(default_factory=dict)
    mock: bool = False

    @property
    def data(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()
