"""Overland: batches of GeoJSON features.

Only `{"result": "ok"}` removes a batch from the app's queue.
"""

from __future__ import annotations

from typing import Any

from runners.intake.app import App, Outcome, Reading, Reply, Report, json_reply, several
from runners.intake.values import known, make_fix, number, positive, required_time
from runners.positions.fix import Fix
from runners.positions.validation import FixError


def read(report: Report) -> Reading:
    reading = Reading("Overland")
    message = report.json()
    locations = message.get("locations") if isinstance(message, dict) else None
    if not isinstance(locations, list):
        raise FixError("message.invalid", "Overland sends a list of `locations`.")
    for index, feature in several(locations):
        if _is_position(feature):
            reading.add(index, _fix, feature)
    # The newest position, which alone moves the marker. The batch comes from the other
    # end of the queue.
    current = message.get("current")
    if isinstance(current, dict) and _is_position(current):
        reading.add(-1, _fix, current)
    return reading


def ok(outcome: Outcome) -> Reply:
    answer: dict[str, Any] = {"result": "ok"}
    if outcome.rejected:
        answer["refused"] = outcome.rejected
    return json_reply(200, answer)


def error(status: int, code: str, detail: str) -> Reply:
    # The app shows `error` to the runner.
    return json_reply(status, {"error": detail, "code": code})


OVERLAND = App(frozenset({"POST"}), read, ok, error)


def _is_position(feature: dict[str, Any]) -> bool:
    """Return whether a feature is a position, not a visit, pause or trip."""
    properties = feature.get("properties")
    if isinstance(properties, dict) and (
        "action" in properties or properties.get("type") == "trip"
    ):
        return False
    return "geometry" not in feature or feature["geometry"] is not None


def _fix(feature: dict[str, Any]) -> Fix:
    geometry, properties = feature.get("geometry"), feature.get("properties")
    if not isinstance(geometry, dict) or not isinstance(properties, dict):
        raise FixError("position.invalid", "A feature has a geometry and properties.")
    coordinates = geometry.get("coordinates")
    if not isinstance(coordinates, list) or len(coordinates) < 2:
        raise FixError("position.invalid", "A point has a longitude and a latitude.")
    altitude = number(properties.get("altitude"))
    if (number(properties.get("vertical_accuracy")) or 0) < 0:
        altitude = None
    return make_fix(
        required_time(properties.get("timestamp")),
        coordinates[1],
        coordinates[0],
        accuracy=positive(properties.get("horizontal_accuracy")),
        altitude=altitude,
        speed=known(properties.get("speed")),
        heading=known(properties.get("course")),
        battery=known(properties.get("battery_level"), 100),
    )
