"""The vector tiles of a race's map."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from runners import database
from runners.models import MapTile, Race
from runners.rights.windows import visible_races
from runners.views.live_json import link_in_header
from runners.views.races.requests import answers_json

# A new map has new addresses.
MAX_AGE_S = 7 * 86_400


@require_safe
@answers_json
async def map_tile(
    request: HttpRequest, slug: str, pk: int, z: int, x: int, y: int
) -> HttpResponse:
    """Return a tile (MVT); 204 if there is none, or none that the viewer may see."""
    link = link_in_header(request)
    links = [] if link is None else [link.pk]
    found = await database.read(_read, slug, links, pk, z, x, y)
    if found is None:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    body, visibility = found
    response = HttpResponse(body, content_type="application/vnd.mapbox-vector-tile")
    response["Content-Encoding"] = "gzip"
    is_public = visibility == Race.Visibility.PUBLIC
    patch_cache_control(response, public=is_public, private=not is_public)
    patch_cache_control(response, max_age=MAX_AGE_S)
    return response


def _read(
    slug: str, links: list[int], pk: int, z: int, x: int, y: int
) -> tuple[bytes, str] | None:
    tiles = MapTile.objects.filter(map=pk, z=z, x=x, y=y)
    tiles = tiles.filter(map__race__slug=slug, map__race__in=visible_races(links))
    found = tiles.values_list("body", "map__race__visibility").first()
    # PostgreSQL returns a memoryview.
    return None if found is None else (bytes(found[0]), found[1])
