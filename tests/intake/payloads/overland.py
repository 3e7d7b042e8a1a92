"""Payloads of Overland: batches of GeoJSON."""

from __future__ import annotations

from typing import Any

from tests.intake.payloads.case import BEARER, JSON, Case, fix
from tests.intake.phones import ISO, MS

FEATURE = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [-6.3285, 53.3566]},
    "properties": {
        "timestamp": ISO,
        "altitude": 21,
        "speed": 3,
        "horizontal_accuracy": 5,
        "vertical_accuracy": 3,
        "course": 184,
        "motion": ["running"],
        "pauses": False,
        "activity": "fitness",
        "desired_accuracy": -1,
        "deferred": 0,
        "significant_change": "disabled",
        "locations_in_payload": 1,
        "battery_state": "unplugged",
        "battery_level": 0.81,
        "wifi": "home",
        "device_id": "",
    },
}
FULL = fix(accuracy=5, altitude=21, speed=3, heading=184, battery=81)


def feature(second: int, **properties: Any) -> dict[str, Any]:
    stamp = f"2026-05-31T07:00:{second:02}Z"
    return FEATURE | {
        "properties": FEATURE["properties"] | {"timestamp": stamp} | properties  # type: ignore[operator]
    }


def overland(name: str, body: Any, *stored: dict[str, Any], **more: Any) -> Case:
    more = {"app": "Overland", "reply": b'{"result":"ok"}'} | more
    return Case(
        f"overland, {name}",
        "/intake/overland",
        body,
        headers=JSON | BEARER,
        stored=stored,
        **more,
    )


VISIT = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [-6.3285, 53.3566]},
    "properties": {"action": "visit", "timestamp": ISO, "arrival_date": ISO},
}
PAUSED = {"type": "Feature", "properties": {"action": "paused_location_updates"}}
TRIP = {"type": "Feature", "geometry": None, "properties": {"type": "trip"}}


CASES = [
    overland("each field", {"locations": [FEATURE]}, FULL),
    overland(
        "unknown values",
        {
            "locations": [
                feature(
                    0,
                    speed=-1,
                    course=-1,
                    vertical_accuracy=-1,
                    horizontal_accuracy=-1,
                    battery_level=-1,
                )
            ]
        },
        fix(),
    ),
    overland(
        "a zone of its own",
        {"locations": [feature(0, timestamp="2026-05-31T09:00:00+0200")]},
        FULL,
    ),
    overland(
        "an offline batch of 200",
        {
            "locations": [
                feature(0, timestamp=f"2026-05-31T07:{n // 60:02}:{n % 60:02}Z")
                for n in range(200)
            ],
            "trip": {"distance": 4200, "mode": "run", "start": ISO},
        },
        *(FULL | {"t": MS + n * 1000} for n in range(200)),
    ),
    overland(
        "the newest beside the batch",
        {"locations": [feature(1), feature(2)], "current": feature(50)},
        *(FULL | {"t": MS + n * 1000} for n in (1, 2, 50)),
    ),
    overland(
        "visits, pauses and trips",
        {"locations": [VISIT, PAUSED, TRIP, FEATURE]},
        FULL,
    ),
    overland("an empty batch", {"locations": []}),
    overland(
        "one bad point in a batch",
        {
            "locations": [
                VISIT,
                feature(1),
                feature(2) | {"geometry": {"type": "Point", "coordinates": [0, 0]}},
                feature(3),
            ]
        },
        *(FULL | {"t": MS + n * 1000} for n in (1, 3)),
        reply=b'{"result":"ok","refused":[[2,"position.invalid",'
        b'"0, 0 is not a position: phones send it before they have one."]]}',
        reasons={"position.invalid": 1},
    ),
    overland(
        "garbage",
        b"\xff\xfe\x00",
        reply=b'{"result":"ok","refused":[[-1,"message.invalid",'
        b'"Not JSON: unexpected character, expected a JSON value: '
        b'line 1 column 1 (char 0)."]]}',
        reasons={"message.invalid": 1},
        app="",
    ),
    Case(
        "overland, wrong token",
        "/intake/overland/",
        {"locations": [FEATURE]},
        headers=JSON | {"Authorization": "Bearer wrong"},
        status=401,
        reply=b'{"error":"This token is unknown or was revoked. Ask for a new one.",'
        b'"code":"token.invalid"}',
    ),
]
