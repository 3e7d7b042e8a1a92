"""Websocket clients of both dialects, written as a native client would be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.waiting import PATIENCE_S

Message = dict[str, Any]
# Unread messages must not block the close frame.
UNREAD: dict[str, Any] = {"max_queue": None}


def is_heartbeat(message: Message) -> bool:
    return message.get("type") == "positions" and not message["fixes"]


class Client:
    """A connection that speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def send_raw(self, frame: str | bytes) -> None:
        await self.connection.send(frame)

    async def receive(self) -> Message:
        """Return the next message; skip heartbeats, which are sent in a silence."""
        # One time limit for all messages, as heartbeats never end.
        async with asyncio.timeout(PATIENCE_S):
            while is_heartbeat(message := json.loads(await self.connection.recv())):
                pass
        return cast(Message, message)

    async def receive_type(self, type_: str, kind: str | None = None) -> Message:
        """Return the next message of a type and skip others."""
        return await self.receive_until(
            lambda m: m.get("type") == type_ and kind in (None, m.get("kind"))
        )

    async def receive_until(self, wanted: Callable[[Message], bool]) -> Message:
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(message := await self.receive()):
                pass
        return message

    async def received(self) -> list[Message]:
        """Return all messages that arrive before the reply to a ping.

        A server replies in order, so that everything sent before has arrived, except
        positions that wait for a tick.
        """
        if self.connection.subprotocol is None:
            await self.send_raw("?")
            answer = {"error": "message.invalid"}
        else:
            await self.send(type="ping", id="barrier")
            answer = {"type": "pong", "id": "barrier"}
        messages = []
        while not answer.items() <= (message := await self.receive()).items():
            messages.append(message)
        return messages

    async def receive_close(self) -> int:
        """Return the code that the server closes with; skip messages."""
        async with asyncio.timeout(PATIENCE_S):
            await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code


@contextlib.asynccontextmanager
async def seed_client(url: str, **options: Any) -> AsyncIterator[Client]:
    """Connect with the dialect of 2015."""
    async with connect(url, **UNREAD, **options) as connection:
        yield Client(connection)


@contextlib.asynccontextmanager
async def typed_client(
    url: str, token: str | None = None, **options: Any
) -> AsyncIterator[Client]:
    """Connect with `spectate.v1` and receive the welcome."""
    if token is not None:
        options["additional_headers"] = {"Authorization": f"Bearer {token}"}
    options["subprotocols"] = [Subprotocol("spectate.v1")]
    async with connect(url, **UNREAD, **options) as connection:
        client = Client(connection)
        await client.receive_type("welcome")
        yield client
