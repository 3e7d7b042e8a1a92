"""Any other app: flat fields in a query string, a form or JSON.

lat, lon, timestamp, acc, alt, bat, speed (m/s), bearing, alarm; several as a JSON list.
"""

from __future__ import annotations

from runners.intake.app import (
    UNKNOWN_APP,
    App,
    Outcome,
    Reading,
    Reply,
    Report,
    json_error,
    json_reply,
    several,
)
from runners.intake.values import fix_of_fields, has_position, time_field


def read(report: Report) -> Reading:
    name = report.user_agent.partition("/")[0].strip()
    reading = Reading(name[:40] if name.isprintable() and name else UNKNOWN_APP)
    if report.method == "POST" and report.is_json:
        for index, fields in several(report.json()):
            fix = reading.add(index, fix_of_fields, fields, report.now)
            reading.add_alarm(fields.get("alarm"), time_field(fields), fix, report.now)
    else:
        fields = report.fields()
        fix = None
        if has_position(fields):
            fix = reading.add(0, fix_of_fields, fields, report.now)
        reading.add_alarm(fields.get("alarm"), time_field(fields), fix, report.now)
    return reading


def ok(outcome: Outcome) -> Reply:
    return json_reply(200, {"stored": outcome.stored, "rejected": outcome.rejected})


GENERIC = App(frozenset({"GET", "POST"}), read, ok, json_error)
