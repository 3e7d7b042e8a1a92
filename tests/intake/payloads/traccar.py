"""Payloads that a Traccar server forwards from its devices."""

from __future__ import annotations

from typing import Any

from tests.intake.payloads.case import JSON, Case
from tests.intake.payloads.traccar_client import KNOTS
from tests.intake.phones import MS

FORWARDED = {
    "position": {
        "id": 0,
        "attributes": {"batteryLevel": 81.0, "distance": 12.3, "motion": True},
        "deviceId": 3,
        "protocol": "gt06",
        "serverTime": "2026-05-31T07:00:01.000+00:00",
        "deviceTime": "2026-05-31T07:00:00.000+00:00",
        "fixTime": "2026-05-31T07:00:00.000+00:00",
        "outdated": False,
        "valid": True,
        "latitude": 53.3566,
        "longitude": -6.3285,
        "altitude": 21.5,
        "speed": 6.0,
        "course": 184.0,
        "address": None,
        "accuracy": 0.0,
        "network": None,
        "geofenceIds": None,
    },
    "device": {
        "id": 3,
        "attributes": {},
        "groupId": 0,
        "name": "Vest 3",
        "uniqueId": "350000000000003",
        "status": "online",
    },
}
FULL = KNOTS | {"accuracy": None}


def forwarded(**changes: Any) -> dict[str, Any]:
    return FORWARDED | {"position": FORWARDED["position"] | changes}


CASES = [
    Case(
        "traccar server, json",
        "/intake/traccar/TOKEN/",
        FORWARDED,
        headers=JSON,
        stored=(FULL,),
        app="Traccar server, gt06",
    ),
    Case(
        "traccar server, no fix",
        "/intake/traccar/TOKEN/",
        forwarded(valid=False),
        headers=JSON,
        app="Traccar server, gt06",
        reasons={"position.invalid": 1},
    ),
    Case(
        "traccar server, an old place with a new status",
        "/intake/traccar/TOKEN/",
        forwarded(outdated=True),
        headers=JSON,
        app="Traccar server, gt06",
    ),
    Case(
        "traccar server, url",
        f"/intake/traccar/TOKEN/?lat=53.3566&lon=-6.3285&time={MS}&valid=true&speed=6.0"
        "&bearing=184.0&altitude=21.5&accuracy=0.0&batt=null",
        method="GET",
        stored=(FULL | {"battery": None},),
        app="Traccar server",
    ),
    Case(
        "traccar server, a device without a token",
        "/intake/traccar/",
        FORWARDED,
        headers=JSON,
        status=401,
        reply=b"This token is unknown or was revoked. Ask for a new one.\n",
    ),
]
