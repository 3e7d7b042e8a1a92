"""Requests of viewers with the rights of everybody, answered before Django.

Django's middleware costs 2 ms of CPU per request, and a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.urls import Resolver404, resolve

from runners import database
from runners.serving.bodies import Application, Receive, Scope, Send
from runners.serving.process import is_current
from runners.views.policy import content_policy

Headers = tuple[tuple[bytes, bytes], ...]

# A request's head has at most 64 KiB, and this is from before its check.
ADDRESSES_KEPT = 64
# All that these responses depend on. Others of a proxy differ by viewer.
ADDRESS_HEADERS = frozenset(
    {b"host", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"}
)
NOT_CACHED = "private, no-store"


class PublicRequest(NamedTuple):
    """A request: the variable parts of its path, and its query, which Django can parse.

    `headers` are those of a response with JSON.
    """

    parts: dict[str, Any]
    query: str
    headers: Headers


# An answer's status, headers and body.
Response = tuple[int, Headers, bytes]


def before_django(
    suffix: str,
    view_name: str,
    answer: Callable[[Scope, PublicRequest], Awaitable[Response]],
) -> Callable[[Application], Application]:
    """Return what wraps Django's application: `answer` is for requests of anybody.

    Requests with a session, a share link or anything unusual are for the application,
    and all while the database is unavailable.
    """

    def wrap(pages: Application) -> Application:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            is_ours = scope["path"].endswith(suffix)
            request = _public_request(scope, view_name) if is_ours else None
            with suppress(database.DatabaseUnavailable):
                if request is not None:
                    await _send(send, *await answer(scope, request))
                    return
            await pages(scope, receive, send)

        return application

    return wrap


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = b"content-length", str(len(body)).encode()
    start: dict[str, Any] = {"type": "http.response.start", "status": status}
    await send(start | {"headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _public_request(scope: Scope, view_name: str) -> PublicRequest | None:
    """Return a request for a view, or None if Django has to answer it.

    None unless its viewer has only the rights of everybody, and while the process
    stops: Django needs none of its services.
    """
    if scope["method"] != "GET" or not is_current():
        return None
    session = settings.SESSION_COOKIE_NAME.encode()
    of_address = []
    for name, value in scope["headers"]:
        if name.startswith(b"spectate-") or (name == b"cookie" and session in value):
            return None
        if name in ADDRESS_HEADERS:
            of_address.append((name, value))
    address = scope["path"], scope.get("root_path", ""), scope.get("scheme", "http")
    known = _parts_and_headers(view_name, *address, tuple(of_address))
    if known is None:
        return None
    query = scope["query_string"]
    fields = query.count(b"&") + 1
    if not query.isascii() or fields > settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:
        return None
    parts, headers = known
    return PublicRequest(parts, query.decode(), headers)


@lru_cache(maxsize=ADDRESSES_KEPT)
def _parts_and_headers(
    view_name: str, path: str, root_path: str, scheme: str, headers: Headers
) -> tuple[dict[str, Any], Headers] | None:
    """Return the variable parts of an address, and the headers of responses there.

    These are from the middleware that every response goes through. None for what
    Django refuses or redirects.
    """
    scope = {"method": "GET", "path": path, "root_path": root_path, "scheme": scheme}
    request: Any = ASGIRequest(scope | {"headers": headers}, BytesIO())
    try:
        request.get_host()
        request.resolver_match = match = resolve(request.path_info)
    except (SuspiciousOperation, Resolver404):
        return None
    if match.view_name != view_name:
        return None
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        return None
    framed: Any = XFrameOptionsMiddleware(_empty_response)
    secured: Any = SecurityMiddleware(framed)
    response: Any = content_policy(secured)(request)
    named = [(n.lower().encode(), v.encode()) for n, v in response.items()]
    return match.kwargs, tuple(named)


def _empty_response(request: HttpRequest) -> HttpResponse:
    headers = {"Cache-Control": NOT_CACHED}
    return HttpResponse(content_type="application/json", headers=headers)
