"""Messages of a running server and its clients, in both dialects and by HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.clients import UNREAD, Client, Message
from tests.servers import Server
from tests.waiting import within

Dialect = Literal["seed", "typed"]
# The limit for a dozen scenarios that run concurrently on a busy machine.
PATIENCE_S = 30.0


class Answer(NamedTuple):
    """An HTTP request and its response; `path` without the query."""

    method: str
    path: str
    query: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class RecordingClient(Client):
    """A client that records all messages it sends and receives."""

    def __init__(
        self, connection: ClientConnection, capture: Capture, dialect: Dialect
    ) -> None:
        super().__init__(connection)
        self._capture = capture
        self._dialect = dialect

    async def send(self, **message: Any) -> None:
        self._capture.sent.append((self._dialect, message))
        await super().send(**message)

    async def send_invalid(self, **message: Any) -> None:
        """Send a message that clients should not send; it is not recorded."""
        await super().send(**message)

    async def receive(self) -> Message:
        text = await within(self.connection.recv(), PATIENCE_S)
        message: Message = json.loads(text)
        self._capture.received.append((self._dialect, message))
        return message

    async def receive_codes(self, *codes: str) -> None:
        """Receive until errors of all these codes have arrived, in any order."""
        missing = set(codes)
        while missing:
            message = await self.receive()
            missing -= {message.get("code"), message.get("error")}

    async def receive_until_close(self, code: int) -> None:
        """Receive everything up to the close."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.receive()
        assert self.connection.close_code == code, self.connection.close_code


@dataclass
class Capture:
    """All messages on sockets and by HTTP."""

    server: Server
    sent: list[tuple[Dialect, Message]] = field(default_factory=list)
    received: list[tuple[Dialect, Message]] = field(default_factory=list)
    closes: set[int] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    # Scenarios that failed, with the traceback.
    failed: list[str] = field(default_factory=list)
    _places: Iterator[int] = field(default_factory=itertools.count)

    @contextlib.asynccontextmanager
    async def joined(
        self,
        dialect: Dialect,
        token: str | None = None,
        *,
        cookie: str | None = None,
    ) -> AsyncIterator[RecordingClient]:
        """Connect; messages that are unread at the end are recorded too."""
        options: dict[str, Any] = {"additional_headers": {}}
        if token is not None:
            options["additional_headers"]["Authorization"] = f"Bearer {token}"
        if cookie is not None:
            options["additional_headers"]["Cookie"] = f"sessionid={cookie}"
            options["additional_headers"]["Origin"] = self.server.url
        if dialect == "typed":
            options["subprotocols"] = [Subprotocol("spectate.v1")]
        async with connect(self.server.ws_url, **UNREAD, **options) as connection:
            client = RecordingClient(connection, self, dialect)
            try:
                yield client
            finally:
                await connection.close()
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await client.receive()
                if connection.protocol.close_rcvd_then_sent:
                    assert connection.close_code is not None
                    self.closes.add(connection.close_code)

    async def request(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | str | None = None,
        **headers: str,
    ) -> Answer:
        """Send an HTTP request; `_` in the names of headers stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await asyncio.to_thread(self._request, method, path, body, named)
        self.answers.append(answer)
        return answer

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | str | None,
        headers: dict[str, str],
    ) -> Answer:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.server.port, timeout=PATIENCE_S
        )
        # From somewhere else each time: the answers to wrong links are delayed more and
        # more for each network.
        place = ipaddress.IPv4Address("198.18.0.0") + next(self._places)
        headers = {"X-Forwarded-For": str(place)} | headers
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            lower = {name.lower(): value for name, value in response.getheaders()}
            where, _, query = path.partition("?")
            return Answer(method, where, query, response.status, lower, response.read())
