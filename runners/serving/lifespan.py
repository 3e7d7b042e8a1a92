"""ASGI's lifespan: starts the services before the first request, and stops them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from runners.serving import process


async def lifespan(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Handle the lifespan protocol, which uvicorn supports (Daphne: `daphne.py`)."""
    await receive()  # lifespan.startup
    await process.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    await process.stop()
    await send({"type": "lifespan.shutdown.complete"})
