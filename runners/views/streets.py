"""The street maps that a page shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from runners.models import Race, RaceMap


def streets_of(races: Iterable[Race]) -> list[dict[str, Any]]:
    """Return the newest map of each race, as pages need it. Causes one query."""
    newest: dict[int, RaceMap] = {}
    for found in RaceMap.objects.complete().filter(race__in=races):
        newest.setdefault(found.race_id, found)
    slugs = {race.pk: race.slug for race in races}
    return [
        {
            # Ends in the numbers of a tile, which the page replaces.
            "url": reverse("map_tile", args=[slugs[pk], found.pk, 0, 0, 0]),
            "bounds": found.bounds,
            "maxZoom": found.max_zoom,
            "attribution": found.attribution,
        }
        for pk, found in newest.items()
    ]
