"""The websocket endpoint: accepts or refuses handshakes and selects the dialect."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from runners.consumers import handshake
from runners.consumers.commands import COMMANDS
from runners.consumers.seed_dialect import Seed
from runners.consumers.session import Dialect, Receive, Send, Session, writer_of
from runners.consumers.typed_dialect import Typed
from runners.live.encoding import typed_dialect
from runners.serving.process import current


async def refuse(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Refuse a handshake with HTTP 403."""
    await receive()
    await send({"type": "websocket.close"})


async def turn_away(
    scope: dict[str, Any], receive: Receive, send: Send, dialect: str | None, code: int
) -> None:
    """Accept and close immediately: browsers see the close code only then."""
    await receive()
    await send({"type": "websocket.accept", "subprotocol": dialect})
    writer = writer_of(scope, send)
    writer.close(code)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    writer.abandon()


async def speak(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve a websocket in the dialect that its handshake selects."""
    offered = scope.get("subprotocols") or []
    dialect = handshake.dialect_of(offered, [typed_dialect.SUBPROTOCOL])
    if not handshake.origin_allowed(scope) or (offered and dialect is None):
        await refuse(scope, receive, send)
        return
    process = current()
    if (code := process.admission.refusal()) is not None:
        await turn_away(scope, receive, send, dialect, code)
        return
    speaks: Callable[[Session], Dialect] = (
        Seed if dialect is None else partial(Typed, COMMANDS)
    )
    session = Session(process, scope, writer_of(scope, send), speaks)
    await session.run(receive, send)
