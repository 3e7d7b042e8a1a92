"""The websocket: which handshakes are accepted, and in which dialect."""

from __future__ import annotations

from typing import Any

from runners import handshake
from runners.consumers.seed import SeedConsumer
from runners.consumers.socket import Receive, Send
from runners.consumers.typed import TypedConsumer
from runners.live.dialects import v1


async def refuse(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer a handshake with HTTP 403."""
    await receive()
    await send({"type": "websocket.close"})


async def speak(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve a websocket in the dialect that its handshake chooses."""
    offered = scope.get("subprotocols") or []
    dialect = handshake.dialect_of(offered, [v1.SUBPROTOCOL])
    if not handshake.origin_allowed(scope) or (offered and dialect is None):
        await refuse(scope, receive, send)
        return
    consumer = SeedConsumer() if dialect is None else TypedConsumer()
    await consumer(scope, receive, send)
