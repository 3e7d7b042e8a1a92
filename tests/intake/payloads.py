"""What the apps send, field by field as their code writes it, and what must come of it.

Ids and places are made up. TOKEN stands for the token, BASIC for user and token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.intake.phones import ISO, MS, SECONDS

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
ANDROID = {
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "Owntracks-Android/gms/420503006",
    "Authorization": "Basic BASIC",
    "X-Limit-U": "somebody-else",
    "X-Limit-D": "pixel",
}
BEARER = {"Authorization": "Bearer TOKEN"}


def fix(t: int = MS, **more: float | None) -> dict[str, Any]:
    """A stored fix: what is not named is unknown."""
    unknown = dict.fromkeys(("accuracy", "altitude", "speed", "heading", "battery"))
    return {"t": t, "lat": 53.3566, "lng": -6.3285} | unknown | more


@dataclass(frozen=True)
class Case:
    """A request, the fixes that are stored of it in SI units, and the exact reply."""

    name: str
    path: str
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    stored: tuple[dict[str, Any], ...] = ()
    status: int = 200
    reply: bytes = b""
    app: str = ""
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()


def owntracks(name: str, body: Any, *stored: dict[str, Any], **more: Any) -> Case:
    more = {"headers": ANDROID, "app": "OwnTracks (Android)"} | more
    return Case(
        f"owntracks, {name}",
        "/intake/owntracks/",
        body,
        stored=stored,
        reply=b"[]",
        **more,
    )


LOCATION = {
    "_type": "location",
    "_id": "ab12cd34",
    "BSSID": "aa:bb:cc:dd:ee:ff",
    "SSID": "home",
    "acc": 13,
    "alt": 21,
    "batt": 81,
    "bs": 1,
    "cog": 184,
    "conn": "m",
    "created_at": SECONDS + 2,
    "lat": 53.3566,
    "lon": -6.3285,
    "m": 2,
    "p": 1013.2,
    "t": "u",
    "tid": "bo",
    "topic": "owntracks/bob/pixel",
    "tst": SECONDS,
    "vac": 4,
    "vel": 18,
}
FULL = fix(accuracy=13, altitude=21, speed=5, heading=184, battery=81)

OWNTRACKS = [
    owntracks("each field", LOCATION, FULL),
    owntracks(
        "only what is required",
        {"_type": "location", "lat": 53.3566, "lon": -6.3285, "tst": SECONDS},
        fix(),
    ),
    owntracks(
        "unknown values of old versions",
        LOCATION | {"vel": -1, "cog": -1, "batt": -1, "acc": 0},
        fix(altitude=21),
    ),
    owntracks(
        "an offline batch as a list",
        [LOCATION | {"tst": SECONDS + n} for n in range(3)],
        *(FULL | {"t": MS + n * 1000} for n in range(3)),
        headers=JSON
        | {
            "Authorization": "Basic BASIC",
            "User-Agent": "OwnTracks/26.1 CFNetwork/3826.500 Darwin/24.4",
        },
        app="OwnTracks (iOS)",
    ),
    owntracks("a ping with an old place", LOCATION | {"t": "p", "tst": SECONDS + 900}),
    owntracks("no body at all", b""),
    *(
        owntracks(f"a {kind}", {"_type": kind, "tst": SECONDS})
        for kind in ("transition", "waypoint", "waypoints", "card", "cmd", "lwt")
    ),
    *(
        owntracks(f"a {kind}", {"_type": kind, "tst": SECONDS})
        for kind in ("configuration", "steps", "beacon", "status", "request")
    ),
    owntracks(
        "an encrypted message",
        {"_type": "encrypted", "data": "c2VjcmV0"},
        reasons={"message.encrypted": 1},
    ),
    owntracks(
        "0, 0",
        LOCATION | {"lat": 0.0, "lon": 0.0},
        reasons={"position.invalid": 1},
    ),
    owntracks("no time", LOCATION | {"tst": None}, reasons={"position.invalid": 1}),
    owntracks(
        "a time in years to come",
        LOCATION | {"tst": 4_000_000_000 // 2},
        reasons={"position.future": 1},
    ),
    owntracks("garbage", b"{not json", reasons={"message.invalid": 1}, app=""),
    owntracks("a number", b"7", reasons={"message.invalid": 1}),
    owntracks(
        "one bad point in a batch",
        [LOCATION, LOCATION | {"lat": 91, "tst": SECONDS + 1}],
        FULL,
        reasons={"position.invalid": 1},
    ),
    owntracks(
        "a name that is not UTF-8",
        json.dumps(LOCATION).encode().replace(b"home", b"caf\xe9"),
        FULL,
    ),
    Case(
        "owntracks, wrong password",
        "/intake/owntracks/",
        LOCATION,
        headers=JSON | {"Authorization": "Basic Ym9iOndyb25n"},
        status=401,
        reply=b'{"error":"token.invalid","detail":'
        b'"This token is unknown or was revoked. Ask for a new one."}',
    ),
]

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
OVERLAND_FULL = fix(accuracy=5, altitude=21, speed=3, heading=184, battery=81)


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

OVERLAND = [
    overland("each field", {"locations": [FEATURE]}, OVERLAND_FULL),
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
        OVERLAND_FULL,
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
        *(OVERLAND_FULL | {"t": MS + n * 1000} for n in range(200)),
    ),
    overland(
        "the newest beside the batch",
        {"locations": [feature(1), feature(2)], "current": feature(50)},
        *(OVERLAND_FULL | {"t": MS + n * 1000} for n in (1, 2, 50)),
    ),
    overland(
        "visits, pauses and trips",
        {"locations": [VISIT, PAUSED, TRIP, FEATURE]},
        OVERLAND_FULL,
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
        *(OVERLAND_FULL | {"t": MS + n * 1000} for n in (1, 3)),
        reply=b'{"result":"ok","refused":[[2,"position.invalid",'
        b'"0, 0 is what a phone says that has no place yet."]]}',
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


TRACCAR_CLIENT = [
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
    ),
    traccar(
        "9, each field",
        body=NINE,
        headers=JSON,
        stored=(NINE_FULL,),
        app="Traccar Client 9",
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


def osmand(name: str, stored: tuple[dict[str, Any], ...], **fields: Any) -> Case:
    query = urlencode({"lat": 53.3566, "lon": -6.3285} | fields)
    return Case(
        f"osmand, {name}",
        f"/intake/osmand/TOKEN/?{query}",
        method="GET",
        stored=stored,
        app="OsmAnd",
    )


OSMAND = [
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

LOGGER = (
    f"lat=53.3566&lon=-6.3285&time={SECONDS}&s=3.1&acc=4.7&alt=21.5&batt=81.0&dir=184.0"
)
LOGGED = fix(accuracy=4.7, altitude=21.5, speed=3.1, heading=184, battery=81)
GPSLOGGER = [
    Case(
        "gpslogger, our template",
        "/intake/gpslogger/",
        LOGGER.encode(),
        headers=FORM | {"Authorization": "Basic BASIC"},
        stored=(LOGGED,),
        app="GPSLogger",
    ),
    Case(
        "gpslogger, by GET",
        f"/intake/gpslogger/TOKEN/?{LOGGER}",
        method="GET",
        stored=(LOGGED,),
        app="GPSLogger",
    ),
    Case(
        "gpslogger, empty values",
        "/intake/gpslogger/TOKEN",
        f"lat=53.3566&lon=-6.3285&time={ISO}&s=&acc=&alt=&batt=&dir=".encode(),
        headers=FORM,
        stored=(fix(),),
        app="GPSLogger",
    ),
    Case(
        "gpslogger, 0.0, 0.0",
        "/intake/gpslogger/TOKEN",
        f"lat=0.0&lon=0.0&time={ISO}".encode(),
        headers=FORM,
        app="GPSLogger",
        reply=b"Refused: 0, 0 is what a phone says that has no place yet.\n",
        reasons={"position.invalid": 1},
    ),
    Case(
        "gpslogger, wrong password",
        "/intake/gpslogger/",
        LOGGER.encode(),
        headers=FORM | {"Authorization": "Basic Ym9iOndyb25n"},
        status=401,
        reply=b"This token is unknown or was revoked. Ask for a new one.\n",
    ),
]

GENERIC = [
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
        stored=(LOGGED,),
        reply=b'{"stored":1,"rejected":[]}',
        app="my-tracker",
    ),
    Case(
        "generic, a list with a bad point",
        "/intake/generic/",
        [
            {"lat": 53.3566, "lng": -6.3285, "time": ISO},
            {"lat": 53.3566, "lng": 181, "time": ISO},
        ],
        headers=JSON | BEARER | {"User-Agent": "my-tracker/1.0"},
        stored=(fix(),),
        reply=b'{"stored":1,"rejected":[[1,"position.invalid",'
        b'"lng must be from -180 to 180 degrees."]]}',
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
FORWARDED_FULL = KNOTS | {"accuracy": None}


def forwarded(**changes: Any) -> dict[str, Any]:
    return FORWARDED | {"position": FORWARDED["position"] | changes}


TRACCAR = [
    Case(
        "traccar server, json",
        "/intake/traccar/TOKEN/",
        FORWARDED,
        headers=JSON,
        stored=(FORWARDED_FULL,),
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
        stored=(FORWARDED_FULL | {"battery": None},),
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

CASES = [
    *OWNTRACKS,
    *OVERLAND,
    *TRACCAR_CLIENT,
    *OSMAND,
    *GPSLOGGER,
    *GENERIC,
    *TRACCAR,
]
