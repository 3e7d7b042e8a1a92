"""A runner's track, as JSON with a level of detail and as GPX."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import wraps

from django.db import OperationalError
from django.db.models import Count, Exists, Max, QuerySet
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import quote_etag

from runners.models import Position, Runner
from runners.recovery.backfill import MARGIN_S
from runners.rights.access import visible_runners
from runners.rights.share_links import LinkError
from runners.rights.windows import visible_from
from runners.serving.process import complete_before
from runners.units.clock import moment_of, now_ms
from runners.views.policy import read_only
from runners.views.share_header import database_unavailable, header_link
from runners.views.track_files import (
    TrackFile,
    TrackGpx,
    TrackJson,
    track_response,
)

logger = logging.getLogger(__name__)

# The coarsest level of detail.
COARSEST_M = 1_000.0


def replies_when_unavailable(
    view: Callable[[HttpRequest, str], HttpResponseBase],
) -> Callable[[HttpRequest, str], HttpResponseBase]:
    """Return 503 while the database is unavailable: clients with a gap retry."""

    @wraps(view)
    def answer(request: HttpRequest, code: str) -> HttpResponseBase:
        try:
            return view(request, code)
        except OperationalError as error:
            logger.warning("A track could not be read from the database: %s", error)
            return database_unavailable()

    return answer


@read_only
@replies_when_unavailable
def track_json(request: HttpRequest, code: str) -> HttpResponseBase:
    """Return `{code, detail, points: [[t, lat, lng, altitude]]}`, oldest first.

    `since` (milliseconds) omits positions stored before. `detail` (metres) omits points
    this near to the line of the others. Responds 304 if nothing is new, and 404 to
    viewers who may not see the runner.
    """
    runner, positions = _visible(request, code)
    since = _number(request, "since", 0, 2**53)
    detail = _number(request, "detail", 0, COARSEST_M)
    if since is None or detail is None:
        return JsonResponse(
            {
                "code": "request.invalid",
                "detail": "`since` is in milliseconds, `detail` from 0 to 1000 metres.",
            },
            status=400,
        )
    if since:
        since = complete_before(min(int(since), now_ms()))
        moment = moment_of(since) - timedelta(seconds=MARGIN_S)
        positions = positions.filter(stored_at__gte=moment)

    file = TrackJson(runner.code, detail)
    return _conditional(request, positions, file, f"{since} {detail}")


@read_only
@replies_when_unavailable
def track_gpx(request: HttpRequest, code: str) -> HttpResponseBase:
    """Return the track as GPX."""
    runner, positions = _visible(request, code)

    return _conditional(request, positions, TrackGpx(runner.name), "gpx")


def _visible(request: HttpRequest, code: str) -> tuple[Runner, QuerySet[Position]]:
    """Return the runner and the positions that the viewer may see.

    The latter contain nothing that is stored later: a client that reads its response
    slowly receives no positions from after the end of its right.

    Raises Http404 for hidden runners as for unknown ones.
    """
    try:
        link = header_link(request)
    except LinkError as error:
        raise Http404(error.detail) from None
    links = [] if link is None else [link.pk]
    now = timezone.now()
    visible = visible_runners(request.user.pk, links).filter(code=code)
    runner = visible.first()
    if runner is None:
        raise Http404("There is no such runner, or they are not shown to you.")
    begin = visible_from([runner.pk], request.user.pk, links)[runner.pk]
    return runner, runner.positions.filter(
        # A right that is withdrawn ends a long track at its next part.
        Exists(visible),
        held=False,
        recorded_at__gte=begin,
        stored_at__lte=now,
    )


def _conditional(
    request: HttpRequest, positions: QuerySet[Position], file: TrackFile, what: str
) -> HttpResponseBase:
    """Return a response only if the client does not have these positions already.

    Rights are checked before, as no cache may answer for us.
    """
    state = positions.aggregate(n=Count("pk"), last=Max("stored_at"))
    etag = quote_etag(f"{state['n']} {state['last']} {what}")
    response: HttpResponseBase = get_conditional_response(
        request, etag=etag
    ) or track_response(request, file, positions)
    response["ETag"] = etag
    patch_cache_control(response, private=True, no_cache=True)
    return response


def _number(request: HttpRequest, name: str, least: float, most: float) -> float | None:
    """Parse a number of the query: 0 if it is missing, None if it is not valid."""
    try:
        value = float(request.GET.get(name, 0))
    except ValueError:
        return None
    return value if least <= value <= most else None
