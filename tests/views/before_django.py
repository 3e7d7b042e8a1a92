"""Requests to the application, with a stand-in for Django."""

from __future__ import annotations

import gzip
import json
from typing import Any

from asgiref.testing import ApplicationCommunicator

from runners.routing import http_application

Communicator: Any = ApplicationCommunicator

# The answer in place of Django's pages.
PAGES = 418


async def ask_pages(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": PAGES, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def get_before_django(
    path: str, query: str, *headers: tuple[bytes, bytes]
) -> Any:
    """Send a request to the application, with `ask_pages` in place of Django.

    Return the status, the headers and the JSON of the answer.
    """
    scope = {
        **{"type": "http", "method": "GET", "path": path},
        "query_string": query.encode("latin-1"),
        "headers": [(b"host", b"testserver"), *headers],
    }
    communicator: Any = Communicator(http_application(ask_pages), scope)
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(timeout=60)
    body = await communicator.receive_output(timeout=60)
    sent = {name.decode().title(): value.decode() for name, value in start["headers"]}
    is_gzip = sent.get("Content-Encoding") == "gzip"
    content = gzip.decompress(body["body"]) if is_gzip else body["body"]
    return start["status"], sent, json.loads(content)
