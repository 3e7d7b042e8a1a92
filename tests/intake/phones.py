"""A phone as the doors meet it: requests over a real connection, and what is stored."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
from dataclasses import dataclass
from typing import Any, Self

from runners import models
from runners.positions.fix import milliseconds
from tests.servers import Server
from tests.waiting import PATIENCE_S, wait_until

FIX = ("lat", "lng", "accuracy", "altitude", "speed", "heading", "battery")


_addresses = itertools.count()


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


class Phone:
    """A phone of Bob's, and what the server's database has of it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pk, self.token = server.database(_issue_token)
        self.connection = http.client.HTTPConnection(
            "127.0.0.1",
            server.port,
            timeout=PATIENCE_S,
            # Of its own: an address that is wrong again and again waits ever longer.
            source_address=(f"127.2.0.{next(_addresses) % 250 + 1}", 0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    def forget(self) -> None:
        """Delete what is stored of Bob."""
        self.server.database(models.Position.objects.all().delete)

    def send(
        self,
        path: str,
        body: bytes | str = b"",
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request; TOKEN in the path and in headers stands for the token."""
        filled = {
            name: value.replace("BASIC", self.basic).replace("TOKEN", self.token)
            for name, value in (headers or {}).items()
        }
        data = body.encode() if isinstance(body, str) else body
        path = path.replace("TOKEN", self.token)
        self.connection.request(method, path, data or None, filled)
        response = self.connection.getresponse()
        # Daphne writes names with capitals.
        names = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, response.read(), names)
        # A server closes what is idle for 5 s, which a busy machine may need.
        self.connection.close()
        return answer

    def send_json(self, path: str, value: Any, **headers: str) -> Answer:
        return self.send(
            path,
            json.dumps(value),
            headers={"Content-Type": "application/json"} | headers,
        )

    @property
    def basic(self) -> str:
        return base64.b64encode(f"bob:{self.token}".encode()).decode()

    def stored(self) -> list[dict[str, Any]]:
        """Return what is stored of Bob, oldest first; `t` in milliseconds."""
        return self.server.database(_stored)

    def note(self) -> dict[str, Any]:
        """Return what is kept of this phone, once it has been written."""
        wait_until(lambda: self.server.database(_notes, self.pk))
        (note,) = self.server.database(_notes, self.pk)
        return note


def _issue_token() -> tuple[int, str]:
    bob = models.Runner.objects.get(code="bob")
    row, token = models.RunnerToken.objects.issue(bob, name="phone")
    return row.pk, token


def _stored() -> list[dict[str, Any]]:
    rows = models.Position.objects.order_by("recorded_at")
    return [
        {"t": milliseconds(row.pop("recorded_at")), **row}
        for row in rows.values("recorded_at", "source", *FIX)
    ]


def _notes(token: int) -> list[dict[str, Any]]:
    rows = models.Phone.objects.filter(token=token)
    fields = ("app", "accepted", "refused", "reasons", "last_reason")
    return [dict(row) for row in rows.values(*fields)]


# The same moment, a while ago, in the words of all apps: 2026-05-31 07:00:00 UTC.
SECONDS = 1_780_210_800
MS = SECONDS * 1000
ISO = "2026-05-31T07:00:00Z"
