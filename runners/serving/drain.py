"""Drain: an orderly shutdown that asks clients to reconnect and stores everything."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import threading
from collections.abc import Callable

from uvicorn.config import Config
from uvicorn.server import Server

from runners.live.close_codes import RECONNECT
from runners.live.outbox import SOCKETS_PER_PASS
from runners.live.server import FrameProtocol
from runners.recovery.backfill import Backfiller
from runners.serving.process import current
from runners.serving.stages import STAGE_S, in_stages

logger = logging.getLogger(__name__)

# The process ends within this time after the request to stop.
LIMIT_S = 9.0
# Sockets closed per second, and the limit of the time to close all.
CLOSES_PER_S = 2_000
MAX_CLOSING_S = 3.0
# Clients asked to reconnect per second. Each costs the process that accepts it several
# milliseconds.
RECONNECTS_PER_S = 250
# How long peers may take to respond to the close frame.
ANSWER_S = 1.0
# Limit of the final backfill, and of the time for slow clients to read it. Clients send
# `since` when they reconnect, but possibly to a process that does not know what was
# lost.
FINAL_BACKFILL_S = 2.0
FINAL_FLUSH_S = 1.0


class DrainingServer(Server):
    """Uvicorn's server with a drain before it closes connections.

    With `shares_port`, other processes listen on the port and accept new connections;
    otherwise this one goes on listening and reports that it is not ready. `on_started`
    is called once it serves, `on_stopped` after everything is stored.
    """

    def __init__(
        self,
        config: Config,
        *,
        shares_port: bool,
        on_started: Callable[[], None],
        on_stopped: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self.shares_port = shares_port
        self.on_started = on_started
        self.on_stopped = on_stopped

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        end = threading.Timer(LIMIT_S, _end)
        end.daemon = True
        end.start()
        process = current()
        process.admission.draining = True
        if self.shares_port:
            for server in self.servers:
                server.close()
            for listener in sockets or []:
                listener.close()
        await close_sockets(process.backfiller, lambda: self.force_exit)
        deadline = asyncio.get_running_loop().time() + ANSWER_S
        # Uvicorn keeps a set of tasks, so there is nothing to await.
        while any(  # noqa: ASYNC110
            isinstance(connection, FrameProtocol)
            for connection in self.server_state.connections
            if asyncio.get_running_loop().time() < deadline
        ):
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
        self.on_stopped()
        end.cancel()


async def close_sockets(backfiller: Backfiller, hurried: Callable[[], bool]) -> None:
    """Send each socket its backfill, ask it to reconnect, then close it.

    Works in stages and in random order, to spread reconnecting clients.
    """
    hub = backfiller.hub
    if not hurried():
        await backfiller.flush(FINAL_BACKFILL_S)
    outboxes = list(hub.sockets)
    random.shuffle(outboxes)
    spread = 1000 * len(outboxes) / RECONNECTS_PER_S
    for number, outbox in enumerate(outboxes, 1):
        outbox.send_reconnect(round(random.uniform(0, spread)))
        if number % SOCKETS_PER_PASS == 0:
            await asyncio.sleep(0)
    deadline = hub.loop.time() + FINAL_FLUSH_S
    while any(outbox.has_pending_events for outbox in outboxes) and not hurried():
        if hub.loop.time() > deadline:
            break
        await asyncio.sleep(STAGE_S)
    closed = 0
    seconds = min(len(outboxes) / CLOSES_PER_S, MAX_CLOSING_S)
    async for target in in_stages(len(outboxes), seconds):
        if hurried():
            target = len(outboxes)
        for outbox in outboxes[closed:target]:
            outbox.close(RECONNECT)
        closed = target
        if closed == len(outboxes):
            break


def _end() -> None:
    logger.error(
        "The shutdown took over %d s: exiting without storing the rest", LIMIT_S
    )
    os._exit(1)
