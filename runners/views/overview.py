"""The races on now, next and past, with thumbnails of their courses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe
from shapely import LineString

from runners.models import Race
from runners.models.race import RaceQuerySet
from runners.rights.windows import visible_races

# Past races on the page of all races; search finds the others.
MOST_PAST = 60
LONGEST_QUERY = 80
# The size of a thumbnail, its margin, and the tolerance of its simplified line, px.
WIDTH, HEIGHT, MARGIN = 64, 48, 4
TOLERANCE_PX = 0.7


@dataclass(frozen=True)
class Overview:
    """Races in the order of a page, each with the path of its thumbnail or ""."""

    on: Sequence[tuple[Race, str]]
    next: Sequence[tuple[Race, str]]
    past: Sequence[tuple[Race, str]]

    def __bool__(self) -> bool:
        return bool(self.on or self.next or self.past)


@require_safe
def races_page(request: HttpRequest) -> HttpResponse:
    """Show all public races, or with `?q=` those whose names contain every word."""
    text = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_QUERY]
    races = visible_races()
    for word in text.split():
        races = races.filter(name__icontains=word)
    now = timezone.now()
    context = {
        "overview": overview_of(races, now, MOST_PAST),
        "text": text,
        "older": max(0, races.past(now).count() - MOST_PAST),
    }
    response = render(request, "runners/races.html", context)
    patch_cache_control(response, private=True, no_cache=True)
    return response


def overview_of(races: RaceQuerySet, now: datetime, most_past: int) -> Overview:
    """Return these races, of those that are over the last ones. Causes two queries."""
    races = races.defer("line")
    coming = list(races.on_or_next(now))
    return Overview(
        on=_drawn([race for race in coming if race.start <= now]),
        next=_drawn([race for race in coming if race.start > now]),
        past=_drawn(races.past(now)[:most_past]),
    )


def _drawn(races: Sequence[Race] | RaceQuerySet) -> list[tuple[Race, str]]:
    return [(race, _thumbnail(race.pk, race.changed_at)) for race in races]


@lru_cache(maxsize=512)
def _thumbnail(pk: int, changed_at: datetime) -> str:
    """Return the course as an SVG path, read once per change of the race."""
    line = Race.objects.values_list("line", flat=True).get(pk=pk)
    return path_of([(point[0], point[1]) for point in line])


def path_of(line: Sequence[tuple[float, float]]) -> str:
    """Return a line of (lat, lng) as an SVG path that fits a thumbnail, or ""."""
    if len(line) < 2:
        return ""
    shrink = math.cos(math.radians(line[0][0]))
    first = line[0][1]
    # Longitudes are relative to the start, so that a line may cross the dateline.
    flat = LineString(
        ((((lng - first + 180) % 360) - 180) * shrink, -lat) for lat, lng in line
    )
    left, top, right, bottom = flat.bounds
    inner = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    scale = max((right - left) / inner[0], (bottom - top) / inner[1])
    if scale <= 0:
        return ""
    simple = flat.simplify(TOLERANCE_PX * scale, preserve_topology=False)
    points = (
        f"{WIDTH / 2 + (x - (left + right) / 2) / scale:.1f} "
        f"{HEIGHT / 2 + (y - (top + bottom) / 2) / scale:.1f}"
        for x, y in simple.coords
    )
    return "M" + "L".join(points)
