"""The plan of the town: rings of streets around a park, a river, houses and woods.

Places are metres east and north of the park's centre. The layers and kinds are those of
Protomaps' basemaps, version 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from shapely import LineString, Point, Polygon, affinity
from shapely.geometry.base import BaseGeometry
from shapely.ops import substring, unary_union

from runners.races.demo import RADIUS_M, WAVES

# Rings as multiples of the course's radius, the innermost around the park.
PARK = 1.24
RINGS = (PARK, 1.5, 1.78, 2.08, 2.4, 2.75, 3.15, 3.6, 4.1)
RING_NAMES = (
    *("Park Road", "Orchard Street", "Market Street", "School Street", "Abbey Street"),
    *("Lime Walk", "Garden Street", "Meadow Road", "Ring Road"),
)
MAIN_RINGS = ("Market Street", "Ring Road")
# Streets from the park outwards; every third is a main road and leads out of the town.
RADIALS = 24
RADIAL_NAMES = (
    *("North Road", "Wren Lane", "Finch Lane", "Station Road", "Heron Street"),
    *("Swift Lane", "Castle Street", "Robin Lane", "Plover Street", "Bridge Street"),
    *("Dipper Lane", "Sparrow Lane", "Mill Road", "Martin Street", "Linnet Lane"),
    *("Harbour Road", "Kestrel Street", "Teal Lane", "Forge Road", "Thrush Lane"),
    *("Lark Street", "Church Road", "Siskin Lane", "Jay Lane"),
)
MAIN_EVERY = 3
OUT_OF_TOWN = 16.0
# (name, multiple of the radius, angle in turns, kind, rank)
PLACES = (
    ("Larkmere", 1.64, 0.62, "locality", 8),
    ("Old Town", 1.95, 0.64, "neighbourhood", 3),
    ("Northfield", 2.9, 0.02, "neighbourhood", 3),
    ("Eastgate", 2.7, 0.27, "neighbourhood", 3),
    ("Millside", 3.1, 0.47, "neighbourhood", 3),
    ("Westmoor", 2.9, 0.79, "neighbourhood", 3),
    ("Upper Larkmere", 7.5, 0.12, "locality", 4),
    ("Fernhill", 8.5, 0.87, "locality", 4),
    ("Saltmarsh", 8.0, 0.55, "locality", 4),
)
# (angle in turns, multiple of the radius, their own radius in m)
WOODS = ((0.10, 6.0, 700.0), (0.36, 6.5, 620.0), (0.72, 6.2, 800.0), (0.9, 5.6, 420.0))
LOT_M, GAP_M, DEPTH_M, SETBACK_M = 19.0, 4.0, 12.0, 11.0


class Feature(NamedTuple):
    """Something on the map, from a zoom on."""

    layer: str
    shape: BaseGeometry
    min_zoom: int
    properties: dict[str, Any]


def features() -> list[Feature]:
    """Return everything in the town, in drawing order."""
    river, ponds = _river(), _ponds()
    water = unary_union([river, *ponds])
    park = Polygon(_ring(PARK - 0.03))
    woods = [Point(_at(turn, out)).buffer(size) for turn, out, size in WOODS]
    return [
        *(
            Feature("landuse", w.difference(water), 8, {"kind": "forest"})
            for w in woods
        ),
        Feature("landuse", park, 10, {"kind": "park", "name": "Larkmere Park"}),
        *(Feature("landuse", p, 12, {"kind": "pitch"}) for p in _pitches()),
        Feature("water", river, 8, {"kind": "river", "name": "River Lark"}),
        *(Feature("water", pond, 12, {"kind": "water"}) for pond in ponds),
        *_roads(water),
        *_buildings(water),
        *_places(),
    ]


def _at(turn: float, ring: float) -> tuple[float, float]:
    """Return a place by its angle from the north and its ring.

    Rings have the shape of the course near the park, and become rounder outwards.
    """
    angle = 2 * math.pi * turn
    wave = sum(share * math.sin(n * angle + at) for n, share, at in WAVES)
    radius = RADIUS_M * ring * (1 + wave * max(0.0, 1 - (ring - 1) / 3))
    return 1.15 * radius * math.sin(angle), radius * math.cos(angle)


def _ring(ring: float) -> list[tuple[float, float]]:
    return [_at(part / 240, ring) for part in range(241)]


def _river() -> Polygon:
    """Return the river, which passes the south of the town from west to east."""
    places = [
        (x, -1180 + 190 * math.sin(x / 900) + 60 * math.sin(x / 310 + 1))
        for x in range(-9000, 9001, 60)
    ]
    return LineString(places).buffer(38)


def _ponds() -> list[Polygon]:
    pond = affinity.scale(Point(-70, -60).buffer(105), 1.3, 0.75)
    return [pond, affinity.rotate(affinity.scale(Point(190, 150).buffer(46), 1.5), 30)]


def _pitches() -> list[Polygon]:
    return [
        affinity.rotate(
            affinity.scale(Point(x, y).buffer(1, cap_style="square"), 50, 32), turn
        )
        for x, y, turn in ((40, 190, 20), (-160, 130, -15), (900, 980, 40))
    ]


def _roads(water: BaseGeometry) -> Iterator[Feature]:
    for name, ring in zip(RING_NAMES, RINGS, strict=True):
        is_main = name in MAIN_RINGS
        for line in _parts(LineString(_ring(ring)), None if is_main else water):
            yield _road(line, name, is_main)
    for number, name in enumerate(RADIAL_NAMES):
        is_main = number % MAIN_EVERY == 0
        # Lanes end at Garden Street.
        line = _radial(number, RINGS[0], OUT_OF_TOWN if is_main else RINGS[6])
        for part in _parts(line, None if is_main else water):
            yield _road(part, name, is_main)
    # Lanes halfway between streets, where the rings are wide.
    for number in range(RADIALS):
        for line in _parts(_radial(number + 0.5, RINGS[3], RINGS[8]), water):
            yield _road(line, f"{RADIAL_NAMES[number].split()[0]} Close", False)
    yield Feature("roads", LineString(_ring(1.0)), 13, {"kind": "path"})
    for start, end in ((0.05, 0.45), (0.3, 0.8), (0.6, 0.95)):
        path = LineString([_at(start, 1.2), (30, 60), _at(end, 1.2)])
        yield Feature("roads", path.difference(water), 13, {"kind": "path"})
    rails = LineString(
        [(x, 1320 + 160 * math.sin(x / 1500)) for x in range(-9000, 9001, 100)]
    )
    yield Feature("roads", rails, 9, {"kind": "rail"})
    bypass = LineString([(x, -2350 + x * x / 9e3) for x in range(-6000, 6001, 200)])
    motorway = {"kind": "highway", "name": "Larkmere Bypass", "ref": "M8"}
    yield Feature("roads", bypass, 6, motorway)


def _radial(number: float, start: float, end: float) -> LineString:
    steps = max(2, round((end - start) * 8))
    return LineString(
        [
            _at(number / RADIALS + 0.004 * math.sin(ring * 2 + number), ring)
            for ring in (start + (end - start) * at / steps for at in range(steps + 1))
        ]
    )


def _parts(line: LineString, water: BaseGeometry | None) -> list[LineString]:
    """Return the parts of a street, which ends at the water unless it has a bridge."""
    dry = line if water is None else line.difference(water.buffer(6))
    return [part for part in getattr(dry, "geoms", [dry]) if part.length > 60]


def _road(line: LineString, name: str, is_main: bool) -> Feature:
    kind, zoom = ("major_road", 8) if is_main else ("minor_road", 12)
    return Feature("roads", line, zoom, {"kind": kind, "name": name})


def _buildings(water: BaseGeometry) -> Iterator[Feature]:
    """Yield houses along both sides of the rings."""
    random = Random(7)
    streets = [
        road.shape for road in _roads(water) if road.properties["kind"] != "path"
    ]
    taken = unary_union([water.buffer(14), *(street.buffer(8) for street in streets)])
    for ring in RINGS:
        for side in (-1, 1):
            if ring == PARK and side < 0:
                continue
            curb = LineString(_ring(ring)).offset_curve(
                side * (SETBACK_M + DEPTH_M / 2)
            )
            for house in _row(curb, random):
                if not house.intersects(taken):
                    yield Feature("buildings", house, 13, {"kind": "building"})


def _row(curb: LineString, random: Random) -> Iterator[Polygon]:
    at = 0.0
    while at + LOT_M < curb.length:
        width = LOT_M * random.uniform(0.5, 1.4)
        front = substring(curb, at, at + width)
        if random.random() < 0.86:
            ends = LineString([front.coords[0], front.coords[-1]])
            depth = DEPTH_M * random.uniform(0.7, 1.3) / 2
            yield ends.buffer(depth, cap_style="flat")
        at += width + GAP_M * random.uniform(0.3, 3)


def _places() -> Iterator[Feature]:
    for name, ring, turn, kind, rank in PLACES:
        is_town = kind == "locality"
        shown = {"kind": kind, "name": name, "population_rank": rank}
        yield Feature("places", Point(_at(turn, ring)), 7 if is_town else 12, shown)
