"""The demo course: a loop of about 3 km in a park, computed by a formula."""

from __future__ import annotations

import math

from runners.units.earth import METRES_PER_DEGREE

# Open grass of Dublin's Phoenix Park; the loop follows no real path.
CENTRE = (53.3566, -6.3285)
# The average radius.
RADIUS_M = 444.5
POINTS = 240
# (waves around the loop, their share of the radius, their phase). They make the loop
# look like a path through trees without crossing itself.
WAVES = ((2, 0.17, 0.6), (3, 0.10, 2.1), (5, 0.045, 4.4), (7, 0.02, 1.3))


def demo_points(laps: int = 1) -> list[tuple[float, float, float]]:
    """Return the loop as (lat, lng, height in metres); it ends where it starts."""
    lat, lng = CENTRE
    shrink = math.cos(math.radians(lat))
    points = []
    for step in range(laps * POINTS + 1):
        angle = 2 * math.pi * (step % POINTS) / POINTS
        radius = RADIUS_M * (
            1 + sum(share * math.sin(n * angle + at) for n, share, at in WAVES)
        )
        # Clockwise from the north, a little wider than high.
        north, east = radius * math.cos(angle), 1.15 * radius * math.sin(angle)
        points.append(
            (
                round(lat + north / METRES_PER_DEGREE, 6),
                round(lng + east / METRES_PER_DEGREE / shrink, 6),
                round(48 + 6 * math.sin(angle + 0.8) + 2 * math.sin(3 * angle), 1),
            )
        )
    return points


def demo_gpx(laps: int = 1) -> str:
    """Return the loop as the text of a GPX file, with two waypoints beside it."""
    points = demo_points(laps)
    named = (("Cedars", points[POINTS // 4]), ("Pond", points[7 * POINTS // 10]))
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<gpx version="1.1" creator="Spectate" '
            'xmlns="http://www.topografix.com/GPX/1/1">',
            *(
                f'<wpt lat="{lat}" lon="{lng}"><name>{name}</name></wpt>'
                for name, (lat, lng, _) in named
            ),
            "<trk><name>Park loop</name><trkseg>",
            *(
                f'<trkpt lat="{lat}" lon="{lng}"><ele>{height}</ele></trkpt>'
                for lat, lng, height in points
            ),
            "</trkseg></trk>",
            "</gpx>",
        ]
    )
