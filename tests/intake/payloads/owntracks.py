"""Payloads of OwnTracks."""

from __future__ import annotations

import json
from typing import Any

from tests.intake.payloads.case import JSON, Case, fix
from tests.intake.phones import MS, SECONDS

ANDROID = {
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "Owntracks-Android/gms/420503006",
    "Authorization": "Basic BASIC",
    "X-Limit-U": "somebody-else",
    "X-Limit-D": "pixel",
}


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


CASES = [
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
