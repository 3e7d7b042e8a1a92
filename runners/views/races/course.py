"""The course of a race as GPX and GeoJSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse

from runners import database
from runners.models import Race
from runners.races import course_files
from runners.views.live_json import Refused, compressed
from runners.views.policy import read_only
from runners.views.races.requests import answers_json, requested_race

# Limit of written courses that are kept. A long one takes 2 MB.
FILES_KEPT = 8


@read_only
@answers_json
async def course_gpx(request: HttpRequest, slug: str) -> HttpResponse:
    """Return a track, and a waypoint per checkpoint."""
    body = await database.read(_file, request, slug, _gpx)
    return await compressed(request, body, "application/gpx+xml")


@read_only
@answers_json
async def course_geojson(request: HttpRequest, slug: str) -> HttpResponse:
    """Return a `LineString` with the length, and a `Point` per checkpoint."""
    body = await database.read(_file, request, slug, _geojson)
    return await compressed(request, body, "application/geo+json")


# Runs in a thread of the database pool.


def _file(request: HttpRequest, slug: str, write: Callable[[Race], bytes]) -> bytes:
    race, _ = requested_race(request, slug)
    if not race.length:
        raise Refused(
            HTTPStatus.NOT_FOUND, "race.no_course", "This race has no course yet."
        )
    stops = tuple(race.checkpoints.values_list("name", "distance", "kind"))
    return _kept(race.pk, race.changed_at, stops, write)


@lru_cache(maxsize=FILES_KEPT)
def _kept(
    pk: int,
    changed_at: datetime,
    stops: Sequence[Any],
    write: Callable[[Race], bytes],
) -> bytes:
    """Return a course, written once until the race or its checkpoints change."""
    return write(Race.objects.get(pk=pk))


def _gpx(race: Race) -> bytes:
    return course_files.course_gpx(race).encode()


def _geojson(race: Race) -> bytes:
    return orjson.dumps(course_files.course_geojson(race))
