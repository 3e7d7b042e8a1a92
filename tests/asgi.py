"""Requests to an application without a server."""

from __future__ import annotations

import asyncio
from typing import Any


async def exchange(
    application: Any, scope: dict[str, Any], body: bytes | None = b""
) -> list[dict[str, Any]]:
    """Send a request to an application; return the messages of its response.

    `scope` has what differs from a GET. Without a body (None), it never arrives.
    """
    usual: dict[str, Any] = {
        **{"type": "http", "method": "GET", "query_string": b""},
        "headers": [(b"host", b"localhost")],
    }
    events = [] if body is None else [{"type": "http.request", "body": body}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not events:
            await asyncio.get_running_loop().create_future()  # connected for ever
        return events.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(usual | scope, receive, send)
    return sent
