"""GPSLogger's custom URL with Spectate's template: lat lon time s acc alt batt dir.

The app tries three to five times and repeats everything in its scheduled upload.
"""

from __future__ import annotations

from runners.intake.app import App, Outcome, Reading, Reply, Report, several
from runners.intake.values import fix_of_fields

# The template of the body or query string. The app may leave values empty.
TEMPLATE = (
    "lat=%LAT&lon=%LON&time=%TIMESTAMP&s=%SPD&acc=%ACC&alt=%ALT&batt=%BATT&dir=%DIR"
)


def read(report: Report) -> Reading:
    reading = Reading("GPSLogger")
    if report.method != "GET" and report.is_json:
        for index, fields in several(report.json()):
            reading.add(index, fix_of_fields, fields, report.now)
    else:
        fields = report.fields()
        reading.add(0, fix_of_fields, fields, report.now)
    return reading


def ok(outcome: Outcome) -> Reply:
    lines = [detail for _place, _code, detail in outcome.rejected]
    return Reply(200, "".join(f"Refused: {line}\n" for line in lines).encode())


GPSLOGGER = App(frozenset({"GET", "POST", "PUT"}), read, ok)
