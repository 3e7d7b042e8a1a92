"""Arrival times of runners at a point of the course, as JSON."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.urls import Resolver404, ResolverMatch, resolve
from django.views.decorators.http import require_safe

from runners import database
from runners.serving.bodies import Application, Receive, Scope, Send
from runners.serving.process import current, is_current
from runners.subscriptions.arrival_reads import (
    ArrivalsRequest,
    answer_of,
    read_arrivals,
)
from runners.units.errors import CodedError
from runners.views.live_json import Refused, link_in_header
from runners.views.policy import content_policy
from runners.views.races.requests import answers_json

SUFFIX = "/eta.json"
MATCHES_KEPT = 256
NOT_FOUND = ("race.unknown", "race.no_course")


@require_safe
@answers_json
async def eta_json(request: HttpRequest, slug: str) -> HttpResponse:
    """Return when runners pass a point (docs/protocol.md).

    `?at=METRES` or `?at=LAT,LNG`, with `&runners=CODE,CODE` for these runners,
    otherwise those who arrive next. `refused` lists runners who may not be seen or are
    not in the race.
    """
    user = await request.auser()
    link = link_in_header(request)
    asked = _asked(request, slug, user.pk, () if link is None else (link.pk,))
    try:
        body = answer_of(asked, await database.read(read_arrivals, [asked]))
    except CodedError as error:
        raise _refusal(error) from None
    return HttpResponse(body, content_type="application/json")


@answers_json
async def _for_anybody(request: HttpRequest, slug: str) -> HttpResponse:
    """Return what a viewer without an account and links gets, by shared reads."""
    try:
        body = await current().arrival_reads.answer(_asked(request, slug))
    except CodedError as error:
        raise _refusal(error) from None
    return HttpResponse(body, content_type="application/json")


def _asked(
    request: HttpRequest, slug: str, user: int | None = None, links: Any = ()
) -> ArrivalsRequest:
    texts = dict.fromkeys(",".join(request.GET.getlist("runners")).split(","))
    texts.pop("", None)
    return ArrivalsRequest(slug, request.GET.get("at", ""), tuple(texts), user, links)


def _refusal(error: CodedError) -> Refused:
    missing = error.code in NOT_FOUND
    status = HTTPStatus.NOT_FOUND if missing else HTTPStatus.BAD_REQUEST
    return Refused(status, error.code, error.detail)


# -- before Django: a crowd asks several hundred times per second, and Django's
# middleware alone costs 2 ms of CPU per request


def with_arrivals(pages: Application) -> Application:
    """Answer the crowd's requests for arrival times; return the application.

    Requests with a session, a share link or anything unusual are for `pages`.
    """

    # Adds the headers of the middleware that every response goes through.
    framed: Any = XFrameOptionsMiddleware(lambda request: request.made)
    secured: Any = SecurityMiddleware(framed)
    with_headers = content_policy(secured)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # While the process stops, Django answers, which needs none of its services.
        request = _request_of_anybody(scope) if is_current() else None
        if request is None:
            await pages(scope, receive, send)
            return
        request.made = await _for_anybody(request, **request.resolver_match.kwargs)
        response: Any = with_headers(request)
        headers = [(n.lower().encode(), v.encode()) for n, v in response.items()]
        headers.append((b"content-length", str(len(response.content)).encode()))
        start: dict[str, Any] = {"type": "http.response.start", "headers": headers}
        await send(start | {"status": response.status_code})
        await send({"type": "http.response.body", "body": response.content})

    return answer


def _request_of_anybody(scope: Scope) -> Any:
    """Return the request if its viewer has only the rights of everybody, or None."""
    if scope["method"] != "GET" or not scope["path"].endswith(SUFFIX):
        return None
    session = settings.SESSION_COOKIE_NAME.encode()
    for name, value in scope["headers"]:
        if name.startswith(b"spectate-") or (name == b"cookie" and session in value):
            return None
    try:
        request: Any = ASGIRequest(scope, BytesIO())
        request.get_host()
        # Decoded on first use, which fails for what Django answers with 400.
        request.GET  # noqa: B018
    except (UnicodeDecodeError, SuspiciousOperation):
        return None
    request.resolver_match = _match(request.path_info)
    is_known = request.resolver_match and request.resolver_match.view_name == "eta_json"
    is_redirected = settings.SECURE_SSL_REDIRECT and not request.is_secure()
    return request if is_known and not is_redirected else None


@lru_cache(maxsize=MATCHES_KEPT)
def _match(path: str) -> ResolverMatch | None:
    try:
        return resolve(path)
    except Resolver404:
        return None
