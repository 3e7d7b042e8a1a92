"""A websocket server that says what a case tells it to say."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from http import HTTPStatus
from typing import Any, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from clients.conformance.patience import patient

Message = dict[str, Any]
# No client waits for it, but in the case about silence.
HEARTBEAT_S = 1000.0


class Connection:
    """The server's end of a connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket

    @property
    def token(self) -> str | None:
        assert self._socket.request is not None
        header = self._socket.request.headers.get("Authorization", "")
        return header.removeprefix("Bearer ") or None

    async def send(self, type_: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": type_, **fields}))

    async def receive(self, type_: str) -> Message:
        """Return the next message, which has to be of this type."""
        message: Message = json.loads(await patient(self._socket.recv()))
        assert message["type"] == type_, message
        return message

    async def ack(self, message: Message, rejected: list[Any] | None = None) -> None:
        stored = len(message["fixes"]) - len(rejected or [])
        await self.send("ack", id=message["id"], stored=stored, rejected=rejected or [])

    async def error(self, code: str, **fields: Any) -> None:
        await self.send("error", code=code, detail=f"This is {code}.", **fields)

    async def authenticate(
        self, token: str, runner: str = "bob", heartbeat: float = HEARTBEAT_S
    ) -> None:
        """Welcome a publisher, whose token is in a header or in a message."""
        welcome = {"runner": runner, "time": 0, "heartbeat": heartbeat}
        if self.token is None:
            await self.send("welcome", runner=None, time=0, heartbeat=HEARTBEAT_S)
            auth = await self.receive("auth")
            assert auth["token"] == token
            await self.send("welcome", id=auth["id"], **welcome)
        else:
            assert self.token == token
            await self.send("welcome", **welcome)

    async def welcome(self, heartbeat: float = HEARTBEAT_S) -> Message:
        """Welcome a spectator; return its `follow`."""
        await self.send("welcome", time=0, runner=None, heartbeat=heartbeat)
        return await self.receive("follow")

    async def snapshot(self, follow: Message, *runners: Message, **fields: Any) -> None:
        fields = {"time": 1, "races": [], "truncated": [], "more": False} | fields
        await self.send("snapshot", id=follow["id"], runners=runners, **fields)

    async def positions(self, time: int, *rows: list[Any]) -> None:
        await self.send("positions", time=time, merged=0, fixes=rows)

    async def close(self, code: int) -> None:
        await patient(self._socket.close(code))

    def cut(self) -> None:
        """End the TCP connection without a word."""
        self._socket.transport.abort()

    async def rest(self) -> list[Message]:
        """Wait until the client closes the connection; return what was not received."""
        await patient(self._socket.wait_closed())
        messages = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                messages.append(json.loads(await self._socket.recv()))
        return messages


class ScriptedServer:
    """Accepts connections and keeps those of each path for its case."""

    def __init__(self) -> None:
        self._accepted: defaultdict[str, asyncio.Queue[Connection]] = defaultdict(
            asyncio.Queue
        )
        # Paths whose handshakes are answered with 403.
        self.forbidden: set[str] = set()

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._handle,
            "127.0.0.1",
            0,
            subprotocols=[Subprotocol("spectate.v1")],
            process_request=self._check,
            ping_interval=None,
        )
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def accepted(self, path: str) -> Connection:
        """Return the next connection to a path."""
        return await patient(self._accepted[path].get())

    def has_accepted(self, path: str) -> bool:
        """Return whether there is a connection that `accepted` has not returned."""
        return not self._accepted[path].empty()

    def _check(self, socket: ServerConnection, request: Request) -> Response | None:
        if request.path in self.forbidden:
            return socket.respond(HTTPStatus.FORBIDDEN, "This is not allowed.")
        return None

    async def _handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self._accepted[socket.request.path].put_nowait(Connection(socket))
        await socket.wait_closed()
