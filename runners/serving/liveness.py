"""The liveness check, answered before Django and its middleware: it is polled often."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest

from runners.serving.bodies import Receive, Scope, Send

PATH = "/healthz"


async def healthz(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with 200 while the process answers, and with 400 under a wrong name.

    The latter is how `manage.py doctor` detects a proxy that changes `Host`.
    """
    status, body = 200, b"ok\n"
    try:
        ASGIRequest(scope, BytesIO()).get_host()
    except DisallowedHost:
        status, body = 400, b"The server is not called like that.\n"
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    start: dict[str, Any] = {"type": "http.response.start", "status": status}
    await send(start | {"headers": headers})
    await send({"type": "http.response.body", "body": body})
