"""The end of a serving process: what was accepted is stored before it exits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from runners.intake.door import get_intake
from runners.live.relay import get_relay
from runners.positions.accept import get_acceptor


async def lifespan(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Speak ASGI's lifespan protocol, which uvicorn does and Daphne does not."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await get_intake().close()
            await get_acceptor().close()
            await get_relay().close()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
