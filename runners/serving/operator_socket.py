"""A Unix socket of each serving process, which `manage.py connections` queries.

Each process has one in `var/processes/`, named after its port, so that the command
finds all workers of a server. Only the server's user and root may open the folder.

A request is one line of JSON, and so is the reply: `{"ask": "list"}` or `{"ask":
"close", "rate": sockets per second, "code": close code}`. Disconnecting stops a close.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Collection, Set
from pathlib import Path
from typing import NotRequired, Protocol, TypedDict, cast

import orjson
from django.conf import settings

from runners.live.close_codes import RECONNECT
from runners.live.outbox import SOCKETS_PER_PASS, Outbox
from runners.serving.stages import in_stages
from runners.subscriptions.access_monitor import MonitoredSocket

logger = logging.getLogger(__name__)

# Clients that are asked to reconnect do so within this time.
BACK_WITHIN_MS = 1_000


class ListedSocket(MonitoredSocket, Protocol):
    """A websocket as the operator sees it."""

    # When the socket was opened, in milliseconds since the epoch.
    since: int
    # "2015" or "v1".
    dialect: str
    outbox: Outbox

    @property
    def address(self) -> str: ...

    @property
    def topic_names(self) -> Collection[object]: ...


class SocketFacts(TypedDict):
    """A socket as the operator sees it, with primary keys and codes.

    `since` is in milliseconds since the epoch, `waiting` counts queued positions.
    """

    since: int
    address: str
    dialect: str
    runner: str | None
    user: int | None
    links: list[int]
    runners: int
    topics: list[str]
    waiting: int
    behind: bool


class Answer(TypedDict):
    """The reply of a process: its pid, and its sockets or how many it has closed."""

    process: int
    sockets: NotRequired[list[SocketFacts]]
    closed: NotRequired[int]


def doors_folder() -> Path:
    """Return the folder with the sockets of this checkout's processes."""
    return Path(settings.VAR_DIR) / "processes"


class OperatorSocket:
    """Answers requests about this process's websockets."""

    def __init__(self, sockets: Set[MonitoredSocket]) -> None:
        self._sockets = cast("Set[ListedSocket]", sockets)
        self._path = doors_folder() / f"{settings.PORT}-{os.getpid()}"
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Open the socket; on failure, log it and serve without."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            listener = _listen(self._path)
        except OSError as error:
            logger.warning(
                "`manage.py connections` cannot query this process: %s", error
            )
            return
        self._server = await asyncio.start_unix_server(self._answer, sock=listener)

    async def close(self) -> None:
        """Close the socket and remove it."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # The command has disconnected.
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            line = await reader.readline()
            if not line:
                return
            request = orjson.loads(line)
            answer: Answer = {"process": os.getpid()}
            if request["ask"] == "list":
                answer["sockets"] = await list_sockets(self._sockets)
            else:
                answer["closed"] = await close_sockets(
                    self._sockets, reader, rate=request["rate"], code=request["code"]
                )
            writer.write(orjson.dumps(answer) + b"\n")
            await writer.drain()


def _listen(path: Path) -> socket.socket:
    """Listen at a path, and remove the left-over sockets of killed processes."""
    for other in path.parent.glob("[!.]*"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(other))
            except ConnectionRefusedError:
                other.unlink()
    listener = socket.socket(socket.AF_UNIX)
    # Renamed once it listens, because siblings remove sockets without a listener.
    coming = path.with_name(f".{path.name}")
    coming.unlink(missing_ok=True)
    listener.bind(str(coming))
    listener.listen()
    listener.setblocking(False)
    coming.rename(path)
    return listener


async def list_sockets(sockets: Set[ListedSocket]) -> list[SocketFacts]:
    """Return the facts of each websocket."""
    facts = []
    for number, each in enumerate(list(sockets), 1):
        facts.append(facts_of(each))
        if number % SOCKETS_PER_PASS == 0:
            await asyncio.sleep(0)
    return facts


def facts_of(each: ListedSocket) -> SocketFacts:
    """Return the client of a websocket and what is queued for it."""
    viewer, publisher = each.viewer, each.publisher
    return {
        "since": each.since,
        "address": each.address,
        "dialect": each.dialect,
        "runner": None if publisher is None else publisher.code,
        "user": viewer.user,
        "links": list(viewer.links),
        "runners": len(each.following),
        "topics": [str(topic_name) for topic_name in each.topic_names],
        "waiting": each.outbox.waiting,
        "behind": each.outbox.writer.behind,
    }


async def close_sockets(
    sockets: Set[ListedSocket], reader: asyncio.StreamReader, *, rate: float, code: int
) -> int:
    """Close the open websockets in stages; return how many there were.

    With code 1012 they are asked to reconnect first. Stops when the command
    disconnects.
    """
    open_now = list(sockets)
    random.shuffle(open_now)
    closed = 0
    async for target in in_stages(len(open_now), len(open_now) / rate):
        if reader.at_eof():
            break
        for each in open_now[closed:target]:
            if code == RECONNECT:
                each.outbox.send_reconnect(random.randrange(BACK_WITHIN_MS))
            each.outbox.close(code)
        closed = target
    return closed
