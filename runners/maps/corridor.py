"""Decides which tiles of a map a course needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Tiles of the web's usual grid. Zoom 14 has houses, and is enlarged beyond.
MAX_ZOOM = 14
# A limit of the tiles of a map: a course of 160 km needs about 700.
MAX_TILES = 4_000
# Where Web Mercator ends.
MAX_LATITUDE = 85.05


class Tile(NamedTuple):
    z: int
    x: int
    y: int


def corridor(line: Iterable[Sequence[float]], max_zoom: int) -> list[Tile]:
    """Return the tiles that a (lat, lng) line crosses and those around them.

    The corridor is one tile wide on each side at every zoom, so that it is wider on
    less detailed maps. Zooms whose tiles would be too many are left out.
    """
    places = _dense([mercator(point[0], point[1]) for point in line], 0.5**max_zoom / 2)
    tiles: list[Tile] = []
    for z in range(max_zoom + 1):
        side = 2**z
        crossed = {(int(x * side), int(y * side)) for x, y in places}
        around = {
            Tile(z, (x + dx) % side, y + dy)
            for x, y in crossed
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            if 0 <= y + dy < side
        }
        if len(tiles) + len(around) > MAX_TILES:
            break
        tiles += sorted(around)
    return tiles


def mercator(lat: float, lng: float) -> tuple[float, float]:
    """Project to Web Mercator, with the world from 0 to 1, y from the north."""
    lat = math.radians(max(-MAX_LATITUDE, min(MAX_LATITUDE, lat)))
    y = 0.5 - math.asinh(math.tan(lat)) / (2 * math.pi)
    return (lng + 180) / 360 % 1, y


def bounds(line: Sequence[Sequence[float]]) -> list[float]:
    """Return west, south, east and north of the area that the map has something of."""
    lats, lngs = ([point[axis] for point in line] for axis in (0, 1))
    # About the width of the corridor at a zoom of 8.
    margin = 1.5
    if max(lngs) - min(lngs) > 180:  # across the dateline
        return [-180.0, -MAX_LATITUDE, 180.0, MAX_LATITUDE]
    return [
        max(-180.0, min(lngs) - margin),
        max(-MAX_LATITUDE, min(lats) - margin),
        min(180.0, max(lngs) + margin),
        min(MAX_LATITUDE, max(lats) + margin),
    ]


def _dense(
    places: Sequence[tuple[float, float]], step: float
) -> list[tuple[float, float]]:
    """Return the places and others between them, at most a step apart."""
    dense = list(places[:1])
    for (x, y), (to_x, to_y) in zip(places, places[1:], strict=False):
        dx, dy = (to_x - x + 0.5) % 1 - 0.5, to_y - y
        parts = max(1, math.ceil(max(abs(dx), abs(dy)) / step))
        dense += [
            ((x + dx * part / parts) % 1, y + dy * part / parts)
            for part in range(1, parts + 1)
        ]
    return dense
