"""Phones that send requests over real connections, and their stored positions."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
from dataclasses import dataclass
from typing import Any, Self

from runners import models
from runners.units.clock import milliseconds
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
    """A phone of Bob, with access to its positions in the server's database."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pk, self.token = server.database(_issue_token)
        self.connection = http.client.HTTPConnection(
            "127.0.0.1",
            server.port,
            timeout=PATIENCE_S,
            # A separate address, as repeated failures delay all requests of an address.
            source_address=(f"127.2.0.{next(_addresses) % 250 + 1}", 0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    def delete_positions(self) -> None:
        """Delete all positions."""
        self.server.database(models.Position.objects.all().delete)

    def send(
        self,
        path: str,
        body: bytes | str = b"",
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request; replace TOKEN and BASIC in the path and headers."""
        filled = {
            name: value.replace("BASIC", self.basic).replace("TOKEN", self.token)
            for name, value in (headers or {}).items()
        }
        data = body.encode() if isinstance(body, str) else body
        path = path.replace("TOKEN", self.token)
        self.connection.request(method, path, data or None, filled)
        response = self.connection.getresponse()
        # Daphne capitalises the names.
        names = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, response.read(), names)
        # A server closes connections that are idle for 5 s, which a busy machine may
        # reach.
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
        """Return Bob's stored positions, oldest first; `t` in milliseconds."""
        return self.server.database(_stored)

    def activity(self) -> dict[str, Any]:
        """Wait for the phone's activity row and return it."""
        wait_until(lambda: self.server.database(_activities, self.pk))
        (activity,) = self.server.database(_activities, self.pk)
        return activity


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


def _activities(token: int) -> list[dict[str, Any]]:
    rows = models.Phone.objects.filter(token=token)
    fields = ("app", "accepted", "refused", "reasons", "last_reason")
    return [dict(row) for row in rows.values(*fields)]


# The same time in the formats of all apps: 2026-05-31 07:00:00 UTC.
SECONDS = 1_780_210_800
MS = SECONDS * 1000
ISO = "2026-05-31T07:00:00Z"
