"""A phone as the doors meet it: requests over a real connection, and what is stored."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import json
import secrets
import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from tests.servers import Server

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
    """A phone of Bob's, and a look into the server's database."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.database = sqlite3.connect(
            server.env["DATABASE_URL"].removeprefix("sqlite:///"),
            timeout=20,
            isolation_level=None,
        )
        self.token = secrets.token_urlsafe(32)
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        made = self.database.execute(
            "INSERT INTO runners_runnertoken (runner_id, name, digest, created_at)"
            " SELECT id, 'phone', ?, ? FROM runners_runner WHERE code = 'bob'",
            (hashlib.sha256(self.token.encode()).hexdigest(), now),
        )
        self.pk = made.lastrowid
        self.connection = http.client.HTTPConnection(
            "127.0.0.1",
            server.port,
            timeout=20,
            # Of its own: an address that is wrong again and again waits ever longer.
            source_address=(f"127.2.0.{next(_addresses) % 250 + 1}", 0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()
        self.database.close()

    def forget(self) -> None:
        """Delete what is stored of Bob."""
        self.database.execute("DELETE FROM runners_position")

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
        return Answer(response.status, response.read(), names)

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
        rows = self.database.execute(
            f"SELECT recorded_at, source, {', '.join(FIX)} FROM runners_position"
            " ORDER BY recorded_at"
        )
        return [
            {
                "t": _ms(recorded_at),
                "source": source,
                **dict(zip(FIX, more, strict=True)),
            }
            for recorded_at, source, *more in rows
        ]

    def note(self) -> dict[str, Any]:
        """Return what is kept of this phone, once it has been written."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            row = self.database.execute(
                "SELECT app, accepted, refused, reasons, last_reason"
                " FROM runners_phone WHERE token_id = ?",
                (self.pk,),
            ).fetchone()
            if row is not None:
                names = ("app", "accepted", "refused", "reasons", "last_reason")
                note = dict(zip(names, row, strict=True))
                return note | {"reasons": json.loads(note["reasons"])}
            time.sleep(0.05)
        raise AssertionError("Nothing was written of this phone.")


def _ms(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


# The same moment, a while ago, in the words of all apps: 2026-05-31 07:00:00 UTC.
SECONDS = 1_780_210_800
MS = SECONDS * 1000
ISO = "2026-05-31T07:00:00Z"
