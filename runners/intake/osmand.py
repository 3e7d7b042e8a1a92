"""The OsmAnd protocol: Traccar Client in its three generations, and OsmAnd itself.

Up to version 8 the fields are in the query string, 9 posts JSON, 10 a form. Any 2xx
removes a position from the app's queue.
"""

from __future__ import annotations

from typing import Any

from runners.intake.app import App, Outcome, Reading, Reply, Report, several
from runners.intake.values import (
    KNOT_M_PER_S,
    fix_of_fields,
    has_position,
    known,
    make_fix,
    number,
    positive,
    time_field,
    time_of,
)
from runners.positions.fix import Fix
from runners.positions.validation import FixError

NO = {"0", "false"}


def read(report: Report) -> Reading:
    if report.method == "POST" and report.is_json:
        return _read_json(report)
    fields = report.fields()
    if report.method == "GET":
        reading = Reading("OsmAnd")
    elif report.body:
        reading = Reading("Traccar Client 10")
    else:
        reading = Reading("Traccar Client 8")
    _add_fields(reading, fields, report)
    return reading


def ok(outcome: Outcome) -> Reply:
    return Reply(200)


OSMAND = App(frozenset({"GET", "POST"}), read, ok)


def _read_json(report: Report) -> Reading:
    message = report.json()
    if isinstance(message, dict) and isinstance(message.get("location"), dict | list):
        reading = Reading("Traccar Client 9")
        for index, location in several(message["location"]):
            # A request without coordinates is a heartbeat.
            fix = None
            if "coords" in location:
                fix = reading.add(index, _fix, location, report.now)
            reading.add_mock(location.get("mock"))
            if isinstance(extras := location.get("extras"), dict):
                time = location.get("timestamp")
                reading.add_alarm(extras.get("alarm"), time, fix, report.now)
        return reading
    reading = Reading("Traccar Client 10")
    for index, fields in several(message):
        _add_fields(reading, fields, report, index)
    return reading


def _add_fields(
    reading: Reading, fields: dict[str, Any], report: Report, index: int = 0
) -> None:
    fix = None
    if has_position(fields):
        fix = reading.add(index, _fix_of_fields, fields, report)
        reading.add_mock(fields.get("mock"))
    reading.add_alarm(fields.get("alarm"), time_field(fields), fix, report.now)


def _fix_of_fields(fields: dict[str, Any], report: Report) -> Fix:
    if str(fields.get("valid", "")).lower() in NO:
        raise FixError("position.invalid", "The app marks this fix as invalid.")
    in_metres = report.query.get("unit") == "mps"
    return fix_of_fields(fields, report.now, 1 if in_metres else KNOT_M_PER_S)


def _fix(location: dict[str, Any], now: int) -> Fix:
    coords, battery = location["coords"], location.get("battery")
    if not isinstance(coords, dict):
        raise FixError("position.invalid", "`coords` must be an object.")
    t = time_of(location.get("timestamp"))
    return make_fix(
        now if t is None else t,
        coords.get("latitude"),
        coords.get("longitude"),
        accuracy=positive(coords.get("accuracy")),
        altitude=number(coords.get("altitude")),
        speed=known(coords.get("speed")),
        heading=known(coords.get("heading")),
        battery=known(battery.get("level"), 100) if isinstance(battery, dict) else None,
    )
