"""Payloads of other apps and of scripts, with common field names."""

from __future__ import annotations

from tests.intake.payloads.case import BEARER, JSON, Case, fix
from tests.intake.phones import ISO, SECONDS

CASES = [
    Case(
        "generic, JSON",
        "/intake/generic/",
        {
            "lat": 53.3566,
            "lon": -6.3285,
            "timestamp": SECONDS,
            "acc": 4.7,
            "alt": 21.5,
            "bat": 81,
            "speed": 3.1,
            "bearing": 184,
        },
        headers=JSON | BEARER | {"User-Agent": "my-tracker/1.0"},
        stored=(fix(accuracy=4.7, altitude=21.5, speed=3.1, heading=184, battery=81),),
        reply=b'{"stored":1,"rejected":[]}',
        app="my-tracker",
    ),
    Case(
        "generic, a list with a bad point",
        "/intake/generic/",
        [
            {"lat": 53.3566, "lng": -6.3285, "time": ISO, "battery": 0.64, "mock": 1},
            {"lat": 53.3566, "lng": 181, "time": ISO},
        ],
        headers=JSON | BEARER | {"User-Agent": "my-tracker/1.0"},
        stored=(fix(battery=64),),
        mock=True,
        reply=b'{"stored":1,"rejected":[[1,"position.invalid",'
        b'"lng must be a number from -180 to 180 degrees."]]}',
        app="my-tracker",
        reasons={"position.invalid": 1},
    ),
    Case(
        "generic, a GET with ?token=",
        f"/intake/generic?token=TOKEN&lat=53.3566&lon=-6.3285&timestamp={SECONDS}",
        method="GET",
        stored=(fix(),),
        reply=b'{"stored":1,"rejected":[]}',
        app="Unknown app",
    ),
]
