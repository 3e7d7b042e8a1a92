"""Unusual reports, as the adapters read them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runners.intake.app import App, Report
from runners.intake.gpslogger import GPSLOGGER
from runners.intake.overland import OVERLAND
from runners.intake.traccar import TRACCAR
from runners.positions.validation import FixError
from tests.intake.phones import ISO, MS, SECONDS


def report(value: Any = None, method: str = "POST", **query: str) -> Report:
    body = b"" if value is None else json.dumps(value).encode()
    return Report(method, query, "application/json", "", body, MS)


def reasons(app: App, value: Any = None, method: str = "POST", **query: str) -> str:
    """Read a report; return the reasons of all refusals in it."""
    fixes = app.read(report(value, method, **query)).fixes
    return " ".join(str(fix) for fix in fixes if isinstance(fix, FixError))


def test_gpslogger_may_send_a_json_list() -> None:
    indices = [{"lat": 48.5, "lon": 2.5, "time": SECONDS}, {"lon": 2.5}]
    reading = GPSLOGGER.read(report(indices))
    first, second = reading.fixes
    assert not isinstance(first, FixError) and (first.t, first.lat) == (MS, 48.5)
    assert isinstance(second, FixError)
    assert reading.indices == [0, 1]


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (OVERLAND, {"locations": {}}),
        (OVERLAND, ["locations"]),
        (TRACCAR, {"position": None}),
        (TRACCAR, ["position"]),
    ],
)
def test_a_message_of_a_different_shape_is_refused(app: App, message: Any) -> None:
    with pytest.raises(FixError) as refused:
        app.read(report(message))
    assert refused.value.code == "message.invalid"


@pytest.mark.parametrize(
    "feature",
    [
        {"geometry": "here", "properties": {"timestamp": ISO}},
        {"geometry": {"coordinates": [2.5, 48.5]}},
        {"geometry": {"coordinates": [2.5]}, "properties": {"timestamp": ISO}},
    ],
)
def test_an_overland_feature_needs_a_point_and_properties(feature: Any) -> None:
    assert reasons(OVERLAND, {"locations": [feature]})


def test_a_traccar_report_without_a_valid_fix_is_refused() -> None:
    place = {"latitude": 48.5, "longitude": 2.5, "fixTime": ISO}
    assert "no fix" in reasons(TRACCAR, {"position": place | {"valid": False}})
    by_query = {"lat": "48.5", "lon": "2.5", "valid": "false"}
    assert "no fix" in reasons(TRACCAR, None, "GET", **by_query)
    # A tracker's status without a position is a heartbeat.
    assert TRACCAR.read(report(None, "GET", id="7")).fixes == []
    outdated = {"position": place | {"outdated": True, "protocol": "osmand"}}
    reading = TRACCAR.read(report(outdated))
    assert (reading.fixes, reading.app) == ([], "Traccar server, osmand")
