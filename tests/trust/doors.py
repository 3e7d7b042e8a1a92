"""Requests to a server's doors (its endpoints), and a record of the responses."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

from tests.factories.people import Keys
from tests.servers import Server
from tests.waiting import PATIENCE_S

APPS = ("owntracks", "overland", "osmand", "gpslogger", "generic")


class Doors:
    """Texts that a server's doors have returned to members and to strangers."""

    def __init__(self, server: Server, keys: Keys) -> None:
        self.server = server
        self.keys = keys
        # All texts so far, by door.
        self.shown: dict[str, str] = {}

    def record(self, door: str, text: str) -> None:
        self.shown[door] = f"{self.shown.get(door, '')}\n{text}"

    async def get(
        self,
        door: str,
        path: str,
        *,
        owner: str | None = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
        method: str | None = None,
    ) -> None:
        """Record the response of a page, requested with the session of `owner`."""
        headers = dict(headers or {})
        if owner is not None:
            headers["Cookie"] = f"sessionid={self.keys.cookies[owner]}"
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(
            self.server.url + path, data, headers, method=method
        )

        def send() -> str:
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                    return f"{response.headers}{response.read().decode()}"
            except urllib.error.HTTPError as error:
                return f"{error.headers}{error.read().decode()}"

        self.record(door, await asyncio.to_thread(send))
