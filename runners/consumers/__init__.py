"""The websocket endpoint: accepts or refuses handshakes and selects the dialect."""

from __future__ import annotations

import logging
from typing import Any

from runners.consumers import handshake
from runners.consumers.commands import COMMANDS
from runners.consumers.message_loop import MessageLoop, Receive, Send
from runners.consumers.seed_dialect import Seed
from runners.consumers.session import Session
from runners.consumers.typed_dialect import Typed
from runners.live.encoding import typed_dialect
from runners.live.outbox import SeedOutbox, TypedOutbox
from runners.live.socket_writer import EXTENSION, AsgiWriter, SocketWriter
from runners.quotas import network_of
from runners.serving.process import current

logger = logging.getLogger(__name__)


async def refuse(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Refuse a handshake on a path without a websocket."""
    await receive()  # websocket.connect
    await _refuse(scope, send, "Websockets are at / and /ws/.")


async def _refuse(scope: dict[str, Any], send: Send, reason: str) -> None:
    """Refuse a handshake with HTTP 403; Daphne sends a body of its own."""
    logger.info("A websocket was refused: %s", reason)
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send(
        {"type": "websocket.http.response.start", "status": 403, "headers": headers}
    )
    await send({"type": "websocket.http.response.body", "body": f"{reason}\n".encode()})


async def turn_away(
    scope: dict[str, Any],
    receive: Receive,
    send: Send,
    dialect: str | None,
    refusal: tuple[int, str],
) -> None:
    """Accept and close immediately: browsers see the code and reason only then."""
    logger.info("A websocket was closed with %s: %s", *refusal)
    await send({"type": "websocket.accept", "subprotocol": dialect})
    writer = writer_of(scope, send)
    writer.close(*refusal)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    writer.abandon()


async def speak(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve a websocket in the dialect that its handshake selects."""
    await receive()  # websocket.connect
    offered = scope.get("subprotocols") or []
    dialect = handshake.dialect_of(offered, [typed_dialect.SUBPROTOCOL])
    if reason := handshake.refusal(scope, dialect, [typed_dialect.SUBPROTOCOL]):
        await _refuse(scope, send, reason)
        return
    process = current()
    address = handshake.address(scope)
    network = network_of(address)
    full = process.admission.refusal(network)
    if full is None and (wait_s := process.admission.flood_wait_s(network)):
        if await process.admission.hold_back(network, wait_s, receive()):
            return
        full = process.admission.refusal(network)
    if full is not None:
        await turn_away(scope, receive, send, dialect, full)
        return
    writer = writer_of(scope, send)
    if dialect is None:
        session = Session(process, address, network, SeedOutbox(writer, process.hub))
        loop = MessageLoop(session, Seed(session))
    else:
        outbox = TypedOutbox(writer, process.hub)
        session = Session(process, address, network, outbox)
        loop = MessageLoop(session, Typed(COMMANDS, session, outbox))
    await loop.run(scope, receive, send)


def writer_of(scope: dict[str, Any], send: Send) -> SocketWriter:
    """Take a socket's writer out of its scope: the server's own, if it offers one."""
    extension: SocketWriter | None = scope.get("extensions", {}).pop(EXTENSION, None)
    return AsgiWriter(send) if extension is None else extension
