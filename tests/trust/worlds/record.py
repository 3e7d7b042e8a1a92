"""What each viewer gets in a world, by any door."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.http import QueryDict
from django.test import Client
from django.utils.functional import cached_property

from runners.intake.endpoint import APPS, intake
from runners.live.encoding import typed_dialect
from runners.routing import websocket_application
from tests.asgi import exchange
from tests.trust.worlds.frozen import Chance
from tests.trust.worlds.scene import Scene

# Long enough for a reply, a tick, a poll of rights and a commit.
SETTLED_S = 1.5


class Record:
    """Texts by viewer and door, in order."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, viewer: str, door: str, text: str) -> None:
        self.texts[viewer, door].append(text)


class Socket:
    """An open websocket whose frames are recorded, without a server."""

    def __init__(
        self, record: Record, viewer: str, door: str, *, typed: bool = True
    ) -> None:
        self._record = record
        self._about = viewer, door
        self._typed = typed
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def open(self, *, token: str = "", cookie: str = "") -> None:
        headers = [(b"host", b"localhost")]
        if cookie:
            headers += [
                (b"origin", b"http://localhost"),
                (b"cookie", f"sessionid={cookie}".encode()),
            ]
        scope = {
            "type": "websocket",
            "path": "/ws/",
            "query_string": f"token={token}".encode() if token else b"",
            "headers": headers,
            "client": ["192.0.2.1", 1],
            "subprotocols": [typed_dialect.SUBPROTOCOL] if self._typed else [],
        }
        self._sent.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(
            websocket_application(scope, self._sent.get, self._receive)
        )
        await asyncio.sleep(0.1)

    async def _receive(self, message: dict[str, Any]) -> None:
        self._record.add(*self._about, json.dumps(message))

    async def send(self, **message: Any) -> None:
        self._sent.put_nowait(
            {"type": "websocket.receive", "text": json.dumps(message)}
        )
        await asyncio.sleep(0.01)

    async def close(self) -> None:
        self._sent.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self._task


async def report(
    record: Record, viewer: str, app: str, token: str, query: str, body: Any = None
) -> None:
    """Send a phone app's report, and record the reply."""
    assert app in APPS
    scope = {
        "method": "POST",
        "path": f"/intake/{app}/{token}/",
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }
    for message in await exchange(intake, scope, json.dumps(body).encode()):
        record.add(viewer, f"intake {app}", str(message))


class Visitor:
    """Requests pages of the application without a server."""

    def __init__(
        self, record: Record, viewer: str, scene: Scene, chance: Chance
    ) -> None:
        self._record = record
        self._viewer = viewer
        self._chance = chance
        self._client = Client()
        if viewer in scene.cookies:
            self._client.cookies["sessionid"] = scene.cookies[viewer]

    def visit(self, door: str, path: str) -> None:
        """Request a page; record its status, headers, cookies and body."""
        self._chance.seed(f"{self._viewer} {path}")
        response = self._client.get(path)
        body = response.getvalue()
        head = f"{path}\n{response.status_code}\n{response.headers}\n{response.cookies}"
        self._record.add(self._viewer, door, f"{head}\n\n{body.decode('latin-1')}")


@contextmanager
def queries_read() -> Iterator[set[str]]:
    """Collect the names of the query's fields that views read meanwhile."""
    names: set[str] = set()

    class Query(QueryDict):
        def __getitem__(self, name: str) -> Any:
            names.add(name)
            return super().__getitem__(name)

        def __contains__(self, name: object) -> bool:
            names.add(str(name))
            return super().__contains__(name)

        def getlist(self, name: str, default: Any = None) -> Any:
            names.add(name)
            return super().getlist(name, default)

    def query_of(request: Any) -> Any:
        return Query(request.META.get("QUERY_STRING", ""))

    replaced = cached_property(query_of)
    replaced.__set_name__(WSGIRequest, "GET")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WSGIRequest, "GET", replaced)
        yield names
