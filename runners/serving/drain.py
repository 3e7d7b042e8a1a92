"""Going away well: everybody is told, sockets are closed in stages, all is stored."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable

from uvicorn.config import Config
from uvicorn.server import Server

from runners.live.close_codes import RECONNECT
from runners.live.hub import Hub, get_hub
from runners.live.outbox import SOCKETS_PER_PASS
from runners.live.server import FrameProtocol
from runners.serving.admission import get_admission
from runners.sharing.recovery import finish_backfills

logger = logging.getLogger(__name__)

# A process is gone so long after it was asked to stop, whatever happens.
LIMIT_S = 9.0
# How many sockets are closed a second, and how long closing all takes at most.
CLOSED_A_SECOND, LONGEST_CLOSING = 2_000, 3.0
# How many are asked to come back a second: each costs the process that takes it in
# several milliseconds.
BACK_A_SECOND = 250
# Between two stages.
STAGE_S = 0.1
# How long peers get to answer the close.
ANSWER_S = 1.0
# How long giving them what they miss may take, and those who are slow to take it.
# Whoever comes back says since when, but not to a process that knows what was lost.
CLOSING_GAPS, OWING = 2.0, 1.0


class DrainingServer(Server):
    """Uvicorn's server, which takes its leave before it closes what is left.

    With `shares_port` others listen on the port too and get who comes from now on;
    alone it goes on listening, and says that it is not ready. `on_started` is called
    once it serves.
    """

    def __init__(
        self, config: Config, *, shares_port: bool, on_started: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self.shares_port = shares_port
        self.on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        end = threading.Timer(LIMIT_S, _end)
        end.daemon = True
        end.start()
        get_admission().leaving = True
        if self.shares_port:
            for server in self.servers:
                server.close()
            for listener in sockets or []:
                listener.close()
        await send_away(get_hub(), lambda: self.force_exit)
        deadline = asyncio.get_running_loop().time() + ANSWER_S
        # What uvicorn keeps is a set, so there is nothing to await.
        while any(  # noqa: ASYNC110
            isinstance(connection, FrameProtocol)
            for connection in self.server_state.connections
            if asyncio.get_running_loop().time() < deadline
        ):
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
        end.cancel()


async def send_away(hub: Hub, hurried: Callable[[], bool]) -> None:
    """Give each socket what it misses, tell it when to come back, then close it.

    In stages; at random, so that those who come back are spread however they were
    connected.
    """
    if not hurried():
        await finish_backfills(hub, CLOSING_GAPS)
    outboxes = list(hub.sockets)
    random.shuffle(outboxes)
    spread = 1000 * len(outboxes) / BACK_A_SECOND
    for number, outbox in enumerate(outboxes, 1):
        outbox.send_reconnect(round(random.uniform(0, spread)))
        if number % SOCKETS_PER_PASS == 0:
            await asyncio.sleep(0)
    deadline = hub.loop.time() + OWING
    while any(outbox.has_pending_events for outbox in outboxes) and not hurried():
        if hub.loop.time() > deadline:
            break
        await asyncio.sleep(STAGE_S)
    closed = 0
    seconds = min(len(outboxes) / CLOSED_A_SECOND, LONGEST_CLOSING)
    async for due in in_stages(len(outboxes), seconds):
        if hurried():
            due = len(outboxes)
        for outbox in outboxes[closed:due]:
            outbox.close(RECONNECT)
        closed = due
        if closed == len(outboxes):
            break


async def in_stages(count: int, seconds: float) -> AsyncIterator[int]:
    """Say in stages how many of a count are due by now, the last after some seconds."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    due = 0
    while due < count:
        # By the clock: a busy loop must not make it longer.
        share = (loop.time() - start + STAGE_S) / seconds
        due = min(count, round(count * share))
        yield due
        if due < count:
            await asyncio.sleep(STAGE_S)


def _end() -> None:
    logger.error("Stopping took over %d s: ended with what was not stored yet", LIMIT_S)
    os._exit(1)
