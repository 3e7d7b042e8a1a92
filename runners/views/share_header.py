"""Opens the share link that a page or a program sends in a header."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.decorators import async_only_middleware

from runners import database
from runners.models import ShareLink
from runners.rights.share_links import LinkError, LinkLocked, open_link
from runners.serving import process
from runners.views.turns import network

# The headers for a share link and for its PIN, because logs contain URLs.
SHARE_HEADER = "Spectate-Share"
PIN_HEADER = f"{SHARE_HEADER}-Pin"
# When to retry while the database is unavailable.
RETRY_AFTER_S = "2"

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@async_only_middleware
def share_header(get_response: GetResponse) -> GetResponse:
    """Open a request's share link before a view needs a thread.

    Returns 429 for a link that is locked after too many wrong PINs, regardless of the
    request.
    """

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        if token := request.headers.get(SHARE_HEADER):
            try:
                link = await open_link(token, request.headers.get(PIN_HEADER, ""))
            except LinkLocked as error:
                return JsonResponse(
                    {"code": error.code, "detail": error.detail},
                    status=HTTPStatus.TOO_MANY_REQUESTS,
                    headers={"Retry-After": str(error.after)},
                )
            except LinkError as error:
                request.share_link = error  # type: ignore[attr-defined]
                # Guesses of PINs are limited by their lock.
                if error.code != "share.pin" and process.is_current():
                    await process.current().wrong_secrets.delay(network(request))
            except database.DatabaseUnavailable:
                return database_unavailable()
            else:
                request.share_link = link  # type: ignore[attr-defined]
        return await get_response(request)

    return middleware


def header_link(request: HttpRequest) -> ShareLink | None:
    """Return the share link of a request; raises `LinkError`."""
    link: ShareLink | LinkError | None = getattr(request, "share_link", None)
    if isinstance(link, LinkError):
        raise link
    return link


def database_unavailable() -> JsonResponse:
    """Return 503, which makes clients retry."""
    return JsonResponse(
        {
            "code": "store.unavailable",
            "detail": "The database does not answer. Try again soon.",
        },
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        headers={"Retry-After": RETRY_AFTER_S},
    )
