"""`/healthz` is answered without Django's middleware, and under our names only."""

from __future__ import annotations

from typing import Any

import pytest

from runners.routing import http_application
from tests.asgi import exchange


async def refuse_pages(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("Django was asked.")


@pytest.mark.parametrize(
    ("host", "status", "body"),
    [
        (b"localhost:8080", 200, b"ok\n"),
        (b"another.example", 400, b"The server is not called like that.\n"),
    ],
)
async def test_health_is_answered_under_our_names_only(
    host: bytes, status: int, body: bytes
) -> None:
    scope = {"path": "/healthz", "headers": [(b"host", host)]}
    sent = await exchange(http_application(refuse_pages), scope)
    assert [sent[0]["status"], sent[1]["body"]] == [status, body]
