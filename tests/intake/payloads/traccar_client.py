"""Payloads of Traccar Client: version 8 in the URL, 9 as JSON, 10 as a form."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tests.intake.payloads.case import BEARER, FORM, JSON, Case, fix
from tests.intake.phones import ISO, MS, SECONDS

OLD = {
    "id": "483921",
    "timestamp": SECONDS,
    "lat": 53.3566,
    "lon": -6.3285,
    "speed": 6.0,
    "bearing": 184.0,
    "altitude": 21.5,
    "accuracy": 4.7,
    "batt": 81.0,
}
KNOTS = fix(accuracy=4.7, altitude=21.5, speed=3.086667, heading=184, battery=81)
NINE = {
    "location": {
        "timestamp": "2026-05-31T07:00:00.000Z",
        "coords": {
            "latitude": 53.3566,
            "longitude": -6.3285,
            "accuracy": 4.7,
            "speed": 3.1,
            "heading": 184.2,
            "altitude": 21.5,
        },
        "is_moving": True,
        "odometer": 4321.5,
        "event": "",
        "battery": {"level": 0.81, "is_charging": False},
        "activity": {"type": "running"},
        "extras": {},
        "_": f"&id=483921&lat=53.3566&lon=-6.3285&timestamp={ISO}&",
    },
    "device_id": "483921",
}
NINE_FULL = fix(accuracy=4.7, altitude=21.5, speed=3.1, heading=184.2, battery=81)


def nine(**changes: Any) -> dict[str, Any]:
    return NINE | {"location": NINE["location"] | changes}  # type: ignore[operator]


def traccar(name: str, **more: Any) -> Case:
    return Case(f"traccar client {name}", **({"path": "/intake/osmand/TOKEN"} | more))


CASES = [
    traccar(
        "8, each field",
        path=f"/intake/osmand/TOKEN/?{urlencode(OLD | {'charge': 'true'})}",
        stored=(KNOTS,),
        app="Traccar Client 8",
    ),
    traccar(
        "8, unknown values",
        path="/intake/osmand/TOKEN?"
        + urlencode(
            OLD | {"speed": -1.0, "bearing": -1.0, "accuracy": 0.0, "batt": -1}
        ),
        stored=(fix(altitude=21.5),),
        app="Traccar Client 8",
    ),
    traccar(
        "8, alarm and mock",
        path="/intake/osmand/TOKEN?"
        + urlencode(OLD | {"alarm": "sos", "mock": "true"}),
        stored=(KNOTS,),
        app="Traccar Client 8",
        mock=True,
    ),
    traccar(
        "9, each field",
        body=NINE,
        headers=JSON,
        stored=(NINE_FULL,),
        app="Traccar Client 9",
    ),
    traccar(
        "9, mock",
        body=nine(mock=True),
        headers=JSON,
        stored=(NINE_FULL,),
        app="Traccar Client 9",
        mock=True,
    ),
    traccar(
        "9, unknown values",
        body=nine(
            coords={
                "latitude": 53.3566,
                "longitude": -6.3285,
                "accuracy": 4.7,
                "speed": -1,
                "heading": -1,
                "altitude": -1.5,
            },
            battery={"level": -1, "is_charging": False},
        ),
        headers=JSON,
        stored=(fix(accuracy=4.7, altitude=-1.5),),
        app="Traccar Client 9",
    ),
    traccar(
        "9, no coordinates",
        body={"location": {"timestamp": ISO, "event": "heartbeat"}, "device_id": "1"},
        headers=JSON,
        app="Traccar Client 9",
    ),
    traccar(
        "10, each field",
        body=urlencode(OLD | {"speed": "6.00", "batt": 81, "charge": "false"}).encode(),
        headers=FORM,
        stored=(KNOTS,),
        app="Traccar Client 10",
    ),
    traccar(
        "10, token in a header",
        path="/intake/osmand/",
        body=urlencode(OLD).encode(),
        headers=FORM | BEARER,
        stored=(KNOTS,),
        app="Traccar Client 10",
    ),
    traccar(
        "10, heartbeat without a place",
        body=urlencode({"id": "483921", "timestamp": SECONDS, "batt": 80}).encode(),
        headers=FORM,
        app="Traccar Client 10",
    ),
    traccar(
        "10, a list of flat objects",
        body=[
            OLD,
            OLD | {"timestamp": SECONDS + 1},
            OLD | {"lat": "x", "timestamp": SECONDS + 2},
        ],
        headers=JSON,
        stored=(KNOTS, KNOTS | {"t": MS + 1000}),
        app="Traccar Client 10",
        reasons={"position.invalid": 1},
    ),
    traccar(
        "10, garbage",
        body=b"\x00\xff&&&==%%%",
        headers=FORM,
        app="Traccar Client 10",
    ),
    traccar("9, garbage", body=b"{", headers=JSON, reasons={"message.invalid": 1}),
    traccar(
        "10, not valid",
        body=urlencode(OLD | {"valid": "false"}).encode(),
        headers=FORM,
        app="Traccar Client 10",
        reasons={"position.invalid": 1},
    ),
    traccar(
        "10, wrong token",
        path="/intake/osmand/wrong",
        body=urlencode(OLD).encode(),
        headers=FORM,
        status=401,
        reply=b"This token is unknown or was revoked. Ask for a new one.\n",
    ),
]
