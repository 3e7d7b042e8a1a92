"""The course of a race as GPX and GeoJSON."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from runners import database
from runners.models import Race
from runners.races import course_files
from runners.views.live_json import Refused
from runners.views.races.requests import answers_json, requested_race


@require_safe
@gzip_page
@answers_json
async def course_gpx(request: HttpRequest, slug: str) -> HttpResponse:
    """Return a track, and a waypoint per checkpoint."""
    body = await database.read(_file, request, slug, course_files.course_gpx)
    return HttpResponse(body, content_type="application/gpx+xml")


@require_safe
@gzip_page
@answers_json
async def course_geojson(request: HttpRequest, slug: str) -> HttpResponse:
    """Return a `LineString` with the length, and a `Point` per checkpoint."""
    body = await database.read(_file, request, slug, course_files.course_geojson)
    return HttpResponse(orjson.dumps(body), content_type="application/geo+json")


# Runs in a thread of the database pool.


def _file(request: HttpRequest, slug: str, write: Callable[[Race], Any]) -> Any:
    race, _ = requested_race(request, slug)
    if not race.length:
        raise Refused(
            HTTPStatus.NOT_FOUND, "race.no_course", "This race has no course yet."
        )
    return write(race)
