"""The common part of requests about a race: the race, the viewer and errors."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse

from runners import database
from runners.models import Race, ShareLink
from runners.rights.windows import visible_race
from runners.units.errors import CodedError
from runners.views.anybody import NOT_CACHED
from runners.views.live_json import Refused, link_in_header
from runners.views.share_header import database_unavailable

AsyncView = Callable[..., Coroutine[Any, Any, HttpResponse]]


def answers_json(view: AsyncView) -> AsyncView:
    """Return a view that responds to `Refused` with `{code, detail}`."""

    @wraps(view)
    async def answer(request: HttpRequest, slug: str, **of: int) -> HttpResponse:
        try:
            response = await view(request, slug, **of)
        except Refused as error:
            response = error.response()
        except database.DatabaseUnavailable:
            response = database_unavailable()
        response.headers.setdefault("Cache-Control", NOT_CACHED)
        return response

    return answer


def requested_race(
    request: HttpRequest, slug: str, link: ShareLink | None = None
) -> tuple[Race, list[int]]:
    """Return the race and the viewer's links (`link`: the share link of the page).

    Raises `Refused`. The line is not read.
    """
    link = link or link_in_header(request)
    links = [] if link is None else [link.pk]
    try:
        return visible_race(slug, links), links
    except CodedError as error:
        raise Refused(HTTPStatus.NOT_FOUND, error.code, error.detail) from None


def invalid(detail: str) -> Refused:
    """Return the refusal of a query that is not valid."""
    return Refused(HTTPStatus.BAD_REQUEST, "request.invalid", detail)
