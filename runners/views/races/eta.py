"""Arrival times of runners at a point of the course, as JSON."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.urls import Resolver404, resolve

from runners import database
from runners.serving.bodies import Application, Receive, Scope, Send
from runners.serving.process import current, is_current
from runners.subscriptions.arrival_reads import ArrivalsRequest, read_arrivals
from runners.units.errors import CodedError
from runners.views.live_json import Refused, link_in_header
from runners.views.policy import content_policy, read_only
from runners.views.races.requests import NOT_CACHED, answers_json

Headers = tuple[tuple[bytes, bytes], ...]

SUFFIX = "/eta.json"
# A request's head has at most 64 KiB, and this is from before its check.
ADDRESSES_KEPT = 64
NOT_FOUND = ("race.unknown", "race.no_course")


@read_only
@answers_json
async def eta_json(request: HttpRequest, slug: str) -> HttpResponse:
    """Return when runners pass a point (docs/protocol.md).

    `?at=METRES` or `?at=LAT,LNG`, with `&runners=CODE,CODE` for these runners,
    otherwise those who arrive next. `refused` lists runners who may not be seen or are
    not in the race.
    """
    user = await request.auser()
    link = link_in_header(request)
    links = [] if link is None else [link.pk]
    asked = _asked(slug, request.GET)
    try:
        body = await database.read(read_arrivals, asked, user.pk, links)
    except CodedError as error:
        raise _refused(error) from None
    return HttpResponse(body, content_type="application/json")


def _asked(slug: str, query: QueryDict) -> ArrivalsRequest:
    texts = dict.fromkeys(",".join(query.getlist("runners")).split(","))
    texts.pop("", None)
    return ArrivalsRequest(slug, query.get("at", ""), tuple(texts))


def _refused(error: CodedError) -> Refused:
    missing = error.code in NOT_FOUND
    status = HTTPStatus.NOT_FOUND if missing else HTTPStatus.BAD_REQUEST
    return Refused(status, error.code, error.detail)


# -- before Django: a crowd asks several hundred times per second, and Django's
# middleware alone costs 2 ms of CPU per request


def with_arrivals(pages: Application) -> Application:
    """Answer the crowd's requests for arrival times; return the application.

    Requests with a session, a share link or anything unusual are for `pages`.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # While the process stops, Django answers, which needs none of its services.
        asked = _asked_by_anybody(scope) if is_current() else None
        if asked is None:
            await pages(scope, receive, send)
            return
        request, headers = asked
        status = HTTPStatus.OK
        try:
            body = await current().arrival_reads.answer(request)
        except CodedError as error:
            refused = _refused(error)
            status, body = refused.status, refused.response().content
        except database.DatabaseUnavailable:
            await pages(scope, receive, send)
            return
        length = b"content-length", str(len(body)).encode()
        start: dict[str, Any] = {"type": "http.response.start", "status": status}
        await send(start | {"headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})

    return answer


def _asked_by_anybody(scope: Scope) -> tuple[ArrivalsRequest, Headers] | None:
    """Return a request and the headers of its response, or None.

    None unless its viewer has only the rights of everybody.
    """
    if scope["method"] != "GET" or not scope["path"].endswith(SUFFIX):
        return None
    session = settings.SESSION_COOKIE_NAME.encode()
    of_address = []
    for name, value in scope["headers"]:
        if name.startswith(b"spectate-") or (name == b"cookie" and session in value):
            return None
        if name == b"host" or name.startswith(b"x-forwarded-"):
            of_address.append((name, value))
    address = scope["path"], scope.get("root_path", ""), scope.get("scheme", "http")
    known = _race_and_headers(*address, tuple(of_address))
    if known is None:
        return None
    try:
        query = QueryDict(scope["query_string"].decode())
    except (UnicodeDecodeError, SuspiciousOperation):
        # Django answers with 400.
        return None
    slug, headers = known
    return _asked(slug, query), headers


@lru_cache(maxsize=ADDRESSES_KEPT)
def _race_and_headers(
    path: str, root_path: str, scheme: str, headers: Headers
) -> tuple[str, Headers] | None:
    """Return the slug of an address, and the headers of responses there.

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
    if match.view_name != "eta_json":
        return None
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        return None
    framed: Any = XFrameOptionsMiddleware(_empty_response)
    secured: Any = SecurityMiddleware(framed)
    response: Any = content_policy(secured)(request)
    named = [(n.lower().encode(), v.encode()) for n, v in response.items()]
    return match.kwargs["slug"], tuple(named)


def _empty_response(request: HttpRequest) -> HttpResponse:
    headers = {"Cache-Control": NOT_CACHED}
    return HttpResponse(content_type="application/json", headers=headers)
