"""Reports of trackers that a Traccar server forwards (`forward.type` json or url).

The runner's token is in the URL, or it is the device's attribute `spectateToken` in
Traccar, for servers that forward all devices to one URL.
"""

from __future__ import annotations

from typing import Any

import orjson

from runners.intake.app import App, Outcome, Reading, Reply, Report
from runners.intake.osmand import NO
from runners.intake.values import (
    KNOT_M_PER_S,
    fix_of_fields,
    has_position,
    known,
    make_fix,
    number,
    positive,
    required_time,
    time_field,
)
from runners.positions.fix import Fix
from runners.positions.validation import FixError

ATTRIBUTE = "spectateToken"


def read(report: Report) -> Reading:
    if report.method == "GET":
        reading = Reading("Traccar server")
        fix = None
        if has_position(report.query):
            fix = reading.add(0, _fix_of_query, report)
        attributes = _attributes_of_query(report)
        reading.add_alarm(
            attributes.get("alarm"), time_field(report.query), fix, report.now
        )
        reading.add_mock(attributes.get("mock"))
        return reading
    message = report.json()
    position = message.get("position") if isinstance(message, dict) else None
    if not isinstance(position, dict):
        raise FixError("message.invalid", "Traccar forwards an object with `position`.")
    protocol = position.get("protocol")
    reading = Reading(
        f"Traccar server, {protocol[:20]}"
        if isinstance(protocol, str) and protocol.isalnum()
        else "Traccar server"
    )
    # An outdated position repeats the last one with the time of a status message. It is
    # not a new fix, but it locates a call for help.
    is_outdated = position.get("outdated") is True
    fix = (Reading() if is_outdated else reading).add(0, _fix, position)
    alarm, time = _attributes(position).get("alarm"), position.get("deviceTime")
    reading.add_alarm(alarm, time, fix, report.now)
    reading.add_mock(_attributes(position).get("mock"))
    return reading


def ok(outcome: Outcome) -> Reply:
    return Reply(200)


def token_of_body(report: Report) -> str | None:
    """Return the token in the device's attributes."""
    try:
        token = report.json()["device"]["attributes"][ATTRIBUTE]
    except (FixError, LookupError, TypeError):
        return None
    return token.strip() if isinstance(token, str) else None


TRACCAR = App(frozenset({"GET", "POST"}), read, ok, token_of_body=token_of_body)


def _fix_of_query(report: Report) -> Fix:
    if report.query.get("valid", "").lower() in NO:
        raise FixError("position.invalid", "The tracker reports that it has no fix.")
    return fix_of_fields(report.query, report.now, KNOT_M_PER_S)


def _fix(position: dict[str, Any]) -> Fix:
    if position.get("valid") is False:
        raise FixError("position.invalid", "The tracker reports that it has no fix.")
    return make_fix(
        required_time(position.get("fixTime")),
        position.get("latitude"),
        position.get("longitude"),
        accuracy=positive(position.get("accuracy")),
        altitude=number(position.get("altitude")),
        speed=known(position.get("speed"), KNOT_M_PER_S),
        heading=known(position.get("course")),
        battery=known(_attributes(position).get("batteryLevel")),
    )


def _attributes(position: dict[str, Any]) -> dict[str, Any]:
    attributes = position.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _attributes_of_query(report: Report) -> dict[str, Any]:
    """Return the attributes, which `forward.type` url writes as JSON."""
    try:
        attributes = orjson.loads(report.query.get("attributes", ""))
    except orjson.JSONDecodeError:
        return {}
    return attributes if isinstance(attributes, dict) else {}
