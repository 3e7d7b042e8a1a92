"""A lifespan and a time-out that the `daphne` command has no options for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from runners.serving import process

# Autobahn's default is 1 s, after which it resets the connection. A slower client, such
# as a phone that wakes up, may then not receive the close code.
CLOSE_TIMEOUT_S = 10


def prepare_daphne() -> None:
    """Start and stop the services with Daphne, and wait longer for close replies.

    Does nothing under other servers, which do not import Daphne's protocol.
    """
    if protocol := sys.modules.get("daphne.ws_protocol"):
        # Autobahn prefers an attribute of the protocol to the factory's option.
        protocol.WebSocketProtocol.closeHandshakeTimeout = CLOSE_TIMEOUT_S
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred

        def run(step: Callable[[], Coroutine[Any, Any, None]]) -> Deferred[None]:
            return Deferred.fromFuture(asyncio.ensure_future(step()))

        # Daphne has no lifespan. Its reactor runs on asyncio.
        triggers: Any = reactor
        triggers.addSystemEventTrigger("before", "startup", run, process.start)
        triggers.addSystemEventTrigger("before", "shutdown", run, process.stop)
