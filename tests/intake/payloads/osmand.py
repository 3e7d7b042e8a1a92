"""Payloads of OsmAnd with our template and with others."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tests.intake.payloads.case import Case, fix
from tests.intake.phones import ISO, MS, SECONDS


def osmand(name: str, stored: tuple[dict[str, Any], ...], **fields: Any) -> Case:
    query = urlencode({"lat": 53.3566, "lon": -6.3285} | fields)
    return Case(
        f"osmand, {name}",
        f"/intake/osmand/TOKEN/?{query}",
        method="GET",
        stored=stored,
        app="OsmAnd",
    )


CASES = [
    osmand(
        "our template",
        (fix(accuracy=4.7, altitude=21.5, speed=3.1, heading=184),),
        timestamp=MS,
        accuracy=4.7,
        altitude=21.5,
        speed=3.1,
        bearing=184.0,
        unit="mps",
    ),
    osmand(
        "speed in knots without a unit", (fix(speed=3.086667),), timestamp=MS, speed=6
    ),
    osmand("an ISO time", (fix(),), timestamp=ISO),
    osmand("a plain time", (fix(),), timestamp="2026-05-31 07:00:00"),
    Case(
        "osmand, lat and lon in one",
        f"/intake/osmand/TOKEN/?location=53.3566,-6.3285&timestamp={SECONDS}&deviceid=7",
        method="GET",
        stored=(fix(),),
        app="OsmAnd",
    ),
]
