"""Attributes that uvicorn's protocols set equally for all connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

# What constructors of uvicorn's protocols set that belongs to one connection, or is not
# used.
OWN = {
    *("app_state", "conn", "default_headers", "frames", "parser", "pipeline"),
    *("queue", "writable"),
    *("last_ping_rtt", "ping_sent_at", "ping_timer", "pong_timer"),
}


@lru_cache(2)
def constants(
    protocol: Callable[..., object],
    config: Config,
    server_state: ServerState,
    loop: asyncio.AbstractEventLoop,
) -> list[tuple[str, Any]]:
    """Return what a protocol's constructor sets equally for all connections."""
    made = protocol(config, server_state, {}, loop)
    return [each for each in vars(made).items() if each[0] not in OWN]
