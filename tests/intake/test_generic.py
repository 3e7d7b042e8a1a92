"""What the generic endpoint understands, and what it answers to everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runners.intake.app import Outcome, Report
from runners.intake.generic import ok, read
from runners.positions.fix import Fix
from runners.positions.validation import FixError

NOW = 1_800_000_000_000
MULTIPART = """--Xy\r
Content-Disposition: form-data; name="lat"\r
\r
48.5\r
--Xy\r
Content-Disposition: form-data; name="lon"\r
\r
2.5\r
--Xy--\r
"""


def report(body: str, type_: str = "", **query: str) -> Report:
    return Report("POST", query, type_, "curl/8", body.encode(), NOW)


def fix_of(body: Any, type_: str = "application/json") -> Fix | FixError:
    text = body if isinstance(body, str) else json.dumps(body)
    (fix,) = read(report(text, type_)).fixes
    return fix


def test_a_multipart_form_is_read() -> None:
    fix = fix_of(MULTIPART, "multipart/form-data; boundary=Xy")
    assert isinstance(fix, Fix) and (fix.lat, fix.lng, fix.t) == (48.5, 2.5, NOW)


@pytest.mark.parametrize(
    ("body", "type_", "words"),
    [
        ("<gpx/>", "application/gpx+xml", "XML"),
        ("latt=48&long=2", "", "`latt`, `long`"),
        ('{"latt": 48, "long": 2}', "application/json", "`latt`, `long`"),
        ("[1, 2]", "application/json", "There is none"),
        ("here I am", "text/plain", "`here I am`"),
        ("latt=48&lng=2", "", "`latt`, `lng`"),
        ("lat=48", "", "`lat`"),
        ("Latt=48&lonn=2&bat=50", "", "`Latt`, `bat`, `lonn`"),
        ('[{"latt": 48, "lng": 2}, {}]', "application/json", "`latt`, `lng`"),
        ("lat=48&lon=2&recorded=x", "", "`recorded`"),
        ("lat=48&lon=2&alrm=SOS", "", "Name a call for help `alarm`.*`alrm`"),
        ('[{"lat": 48, "lon": 2, "ts": 1}]', "application/json", "`ts`"),
        (MULTIPART, "multipart/form-data", "boundary"),
        ("x", "multipart/form-data; boundary=Xy", "There is none"),
    ],
)
def test_what_is_not_understood_is_an_error(body: str, type_: str, words: str) -> None:
    with pytest.raises(FixError, match=words) as caught:
        read(report(body, type_))
    reply = ok(Outcome(0, [(-1, caught.value.code, caught.value.detail)]))
    assert (reply.status, json.loads(reply.body)["error"]) == (400, "message.invalid")


def test_a_token_in_the_query_makes_no_request_understood() -> None:
    with pytest.raises(FixError, match="`latt`"):
        read(report("", latt="48", token="x"))


@pytest.mark.parametrize(
    "name", ["ts", "recorded_at", "recorded", "date", "timestmap", "fixTime"]
)
def test_a_time_of_an_unknown_name_is_not_now(name: str) -> None:
    place = {"lat": 48.5, "lon": 2.5}
    with pytest.raises(FixError, match=f"`{name}`"):
        fix_of(place | {name: 1_700_000_000})
    # Of several positions, the others are stored.
    fixes = read(report(json.dumps([place, place | {name: 1}]))).fixes
    assert isinstance(fixes[0], Fix) and isinstance(fixes[1], FixError)
    known = fix_of(place | {name: "x", "timestamp": 1_700_000_000})
    assert isinstance(known, Fix) and known.t == 1_700_000_000_000


@pytest.mark.parametrize(
    ("value", "is_time"),
    [
        ("2023-11-14T22:13:20Z", True),
        (NOW // 1000 - 60, True),
        (str(NOW - 86_400_000), True),
        (1_700_000_000, True),
        (NOW // 1000 - 11 * 31_536_000, False),
        (NOW // 1000 + 60, True),
        (NOW // 1000 + 11 * 31_536_000, False),
        (353_879_234_252_633, False),  # a device
        (50, False),
        (True, False),
    ],
)
def test_a_time_in_a_field_of_any_name_is_not_now(value: Any, is_time: bool) -> None:
    body = {"lat": 48.5, "lon": 2.5, "zeit": value}
    if is_time:
        with pytest.raises(FixError, match="`zeit`"):
            fix_of(body)
    else:
        assert isinstance(fix_of(body), Fix)


def test_a_mistyped_name_does_not_lose_a_call_for_help() -> None:
    for body in ("latt=48&lng=2&alarm=sos", "lat=48&lon=2&zeit=2026-01-01&alarm=sos"):
        assert read(report(body)).call is not None


@pytest.mark.parametrize("type_", ["", "multipart/form-data; boundary=Xy"])
def test_long_forms_are_refused_before_they_are_parsed(type_: str) -> None:
    body = (MULTIPART if type_ else "lat=48.5&lon=2.5&x=") + "x" * 64 * 1024
    with pytest.raises(FixError, match="at most 65,536 bytes") as caught:
        read(report(body, type_))
    assert caught.value.code == "message.too_big"


def test_too_many_different_fields_are_refused() -> None:
    place = {"lat": 48.5, "lon": 2.5}
    items = [place | {f"x{n}-{i}": 1 for i in range(100)} for n in range(3)]
    assert len(read(report(json.dumps(items[:1] * 3), "application/json")).fixes) == 3
    with pytest.raises(FixError, match="more than 200 different fields"):
        read(report(json.dumps(items), "application/json"))


def test_other_fields_do_no_harm() -> None:
    fix = fix_of({"lat": 48.5, "lon": 2.5, "device": "x", "timezone": "UTC"})
    assert isinstance(fix, Fix) and fix.t == NOW
    for heartbeat in (report(""), report("bat=50"), report("", token="x")):
        assert read(heartbeat).fixes == []
