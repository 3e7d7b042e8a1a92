"""OwnTracks in HTTP mode; in MQTT mode (`mqtt.py`) the messages are the same.

The app keeps requests that do not get 2xx and repeats them in order for ever. So
permanent errors get 200.
"""

from __future__ import annotations

from typing import Any

from runners.intake.app import App, Outcome, Reading, Reply, Report, json_error, several
from runners.intake.values import known, make_fix, number, positive, required_time
from runners.positions.fix import Fix
from runners.positions.validation import FixError

KM_PER_H_IN_M_PER_S = 1 / 3.6


def read(report: Report) -> Reading:
    reading = Reading(_app(report.user_agent))
    if not report.body.strip():
        return reading
    for index, message in several(report.json()):
        match message.get("_type"):
            case "location":
                # A ping has the current time with an old position.
                if message.get("t") != "p":
                    reading.add(index, _fix, message)
            case "encrypted":
                reading.add(index, _refuse_encrypted)
            case str():
                pass  # Waypoints, cards, status messages and others.
            case _:
                reading.add(index, _refuse_unknown)
    return reading


def ok(outcome: Outcome) -> Reply:
    return Reply(200, b"[]", "application/json")


OWNTRACKS = App(frozenset({"POST"}), read, ok, json_error)


def _app(user_agent: str) -> str:
    if "android" in user_agent.lower():
        return "OwnTracks (Android)"
    return "OwnTracks (iOS)" if "CFNetwork" in user_agent else "OwnTracks"


def _fix(message: dict[str, Any]) -> Fix:
    return make_fix(
        required_time(message.get("tst")),
        message.get("lat"),
        message.get("lon"),
        accuracy=positive(message.get("acc")),
        altitude=number(message.get("alt")),
        speed=known(message.get("vel"), KM_PER_H_IN_M_PER_S),
        heading=known(message.get("cog")),
        battery=known(message.get("batt")),
    )


def _refuse_encrypted() -> Fix:
    raise FixError(
        "message.encrypted",
        "The phone encrypts its messages. Remove the encryption key in OwnTracks.",
    )


def _refuse_unknown() -> Fix:
    raise FixError("message.invalid", "This is not a message of OwnTracks.")
