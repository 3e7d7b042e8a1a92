"""Bounds how many pages are made at the same time, fairly between networks.

Each request of a page has a separate thread, and all threads share one interpreter:
thirty that work at the same time leave the event loop a thirtieth of it. Requests
beyond the limit wait here, where they cost nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import Resolver404, resolve
from django.utils.decorators import async_only_middleware

from runners.quotas import network_of
from runners.serving.bodies import JSON_SUFFIXES
from runners.serving.turns import Turns
from runners.views.policy import content_policy

# Two or three are enough to occupy the interpreter; the others wait for the database.
PAGES = 4
# Passwords and PINs are hashed one at a time, so that a second one may only be prepared
# meanwhile.
SECRETS = 2
# What may wait for a transaction of a timing system.
OFFICE = 4
# What may wait for a mail server, which can hang.
MAILS = 4
# Requests that may wait, each with its body: a crowd's, but not a flood.
MOST_WAITING = 1_000
RETRY_AFTER_S = 5
# Forms with a password or a PIN, whose requests wait for its hash.
SECRET_FORMS = ("/sign-in/", "/sign-up/", "/account/", "/s/", "/admin/login/")
# Forms whose mail is sent before their response, which says whether that worked.
MAIL_FORMS = ("/me/contacts/", "/me/notifications/mail/")
OFFICE_MAIL_FORMS = ("/people/", "/setup-links/")
# Whoever watches the process asks these. Pages that wait say nothing of its sockets.
NEVER_WAIT = ("/readyz", "/metrics")
# A preflight precedes a read by a script of a different site.
SAFE = ("GET", "HEAD", "OPTIONS")

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


pages, office, secrets, mails = map(Turns, (PAGES, OFFICE, SECRETS, MAILS))


@async_only_middleware
def in_turn(get_response: GetResponse) -> GetResponse:
    """Make a limited number of responses at the same time.

    The request's body has been read, and the response is sent later: slow clients
    occupy no turn.
    """

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path in NEVER_WAIT:
            return await get_response(request)
        turns = _turns_for(request)
        if turns.waiting >= MOST_WAITING:
            return _busy(request)
        async with turns.turn(network(request)):
            return await get_response(request)

    return middleware


def _busy(request: HttpRequest) -> HttpResponseBase:
    """Return 503, made here because what is inside needs a turn."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    detail = "Too many requests wait at the moment. Try again in some seconds."
    response: HttpResponse
    if request.path.startswith("/api/"):
        response = JsonResponse(
            {
                "type": "about:blank",
                "title": status.phrase,
                "status": status.value,
                "code": "store.unavailable",
                "detail": detail,
            },
            content_type="application/problem+json",
        )
    elif request.path.endswith(JSON_SUFFIXES):
        response = JsonResponse({"code": f"http.{status.value}", "detail": detail})
    else:
        response = HttpResponse(detail, content_type="text/plain")
    response.status_code = status
    response["Retry-After"] = str(RETRY_AFTER_S)
    with suppress(Resolver404):
        request.resolver_match = resolve(request.path_info)
    return content_policy(lambda _: response)(request)


def _turns_for(request: HttpRequest) -> Turns:
    """Return the turns of a request: nobody's page waits for an organiser's mails."""
    if request.method == "POST" and request.path.startswith(SECRET_FORMS):
        return secrets
    if request.method == "POST" and (
        request.path in MAIL_FORMS
        or request.path.startswith("/admin/")
        and request.path.endswith(OFFICE_MAIL_FORMS)
    ):
        return mails
    if request.method not in SAFE or request.path.startswith(("/admin/", "/api/")):
        return office
    return pages


def network(request: HttpRequest) -> str:
    """Return the network of a request's client."""
    return network_of(request.META.get("REMOTE_ADDR", ""))
