"""Requests to the application, with a stand-in for Django."""

from __future__ import annotations

import gzip
import json
from typing import Any

from runners.routing import http_application
from tests.asgi import exchange

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
        "path": path,
        "query_string": query.encode("latin-1"),
        "headers": [(b"host", b"testserver"), *headers],
    }
    start, body = await exchange(http_application(ask_pages), scope)
    sent = {name.decode().title(): value.decode() for name, value in start["headers"]}
    is_gzip = sent.get("Content-Encoding") == "gzip"
    content = gzip.decompress(body["body"]) if is_gzip else body["body"]
    return start["status"], sent, json.loads(content)
