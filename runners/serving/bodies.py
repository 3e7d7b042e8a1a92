"""Limits on the bodies of requests, for both servers.

Without them, an anonymous request fills the disk, as Django reads a body before any
view runs, and slow bodies stay open for ever.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

# Addresses whose errors are JSON.
JSON_SUFFIXES = (".json", ".geojson")

MIB = 1024 * 1024
# Reports of phones, files of watches, uploads of the race office and of its systems;
# all other requests.
UPLOAD_LIMIT_BYTES = 8 * MIB
BODY_LIMIT_BYTES = 5 * MIB // 2
UPLOADS = ("/intake/", "/admin/", "/api/", "/me/files/")
# How much of a longer body is read and discarded, so that the client reads the reply.
PATIENCE_LIMIT_BYTES = 64 * MIB
# How long receiving a body may take.
BODY_TIMEOUT_S = 60.0

# Codes of the API's problems.
CODES = {413: "body.too_large", 408: "body.too_slow"}

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyRefused(Exception):
    """A body that is too long or too slow: the status and text of the response."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def limit_of(path: str) -> int:
    """Return how many bytes the body of a request to a path may have."""
    return UPLOAD_LIMIT_BYTES if path.startswith(UPLOADS) else BODY_LIMIT_BYTES


class Body:
    """Receives the body of one request for the application, up to its limits."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._limit = limit_of(scope["path"])
        self._deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S
        self._size = 0
        self._complete = False

    async def receive(self) -> dict[str, Any]:
        """Receive the next message; raises `BodyRefused`."""
        if self._complete:
            return await self._receive()
        message = await self._receive_in_time()
        if self._size <= self._limit:
            return message
        while message.get("more_body") and self._size <= PATIENCE_LIMIT_BYTES:
            message = await self._receive_in_time()
        raise BodyRefused(
            413, f"A request here has {self._limit / MIB:g} MiB at most.\n"
        )

    async def _receive_in_time(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise BodyRefused(
                408, f"The request took longer than {BODY_TIMEOUT_S:.0f} s.\n"
            ) from None
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body")
        return message


def with_bounded_bodies(application: Application) -> Application:
    """Return an HTTP application whose requests have bodies within the limits."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await application(scope, Body(scope, receive).receive, send)
        except BodyRefused as refusal:
            await _refuse(scope["path"], refusal, send)

    return answer


async def _refuse(path: str, refusal: BodyRefused, send: Send) -> None:
    type_, body = _description(path, refusal)
    headers = [
        (b"content-type", type_),
        (b"cache-control", b"no-store"),
        # The rest of the body may still arrive.
        (b"connection", b"close"),
    ]
    await send(
        {"type": "http.response.start", "status": refusal.status, "headers": headers}
    )
    await send({"type": "http.response.body", "body": body})


def _description(path: str, refusal: BodyRefused) -> tuple[bytes, bytes]:
    """Return the type and the body of a response, as other errors of a path have."""
    status, text = HTTPStatus(refusal.status), str(refusal)
    if path.startswith("/api/"):
        problem = {
            **{"type": "about:blank", "title": status.phrase, "status": status},
            **{"code": CODES[status], "detail": text.strip(), "errors": []},
        }
        return b"application/problem+json", json.dumps(problem).encode()
    if path.endswith(JSON_SUFFIXES):
        error = {"code": f"http.{status.value}", "detail": text.strip()}
        return b"application/json", json.dumps(error).encode()
    return b"text/plain; charset=utf-8", text.encode()
