"""Any other app: flat fields in a query string, a form or JSON.

lat, lon, timestamp, acc, alt, bat, speed (m/s), bearing, alarm; several as a JSON list.
Scripts and own apps use it, so that a request without anything known is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from runners.intake.app import (
    MOST_FIELDS,
    UNKNOWN_APP,
    WHOLE,
    App,
    Outcome,
    Reading,
    Reply,
    Report,
    json_error,
    json_reply,
    several,
)
from runners.intake.values import (
    KNOWN_NAMES,
    LAT,
    LNG,
    TIME,
    fix_of_fields,
    has_position,
    number,
    time_field,
)
from runners.positions.fix import Fix
from runners.positions.validation import FixError

# What a time may be called in a field that is not known as one.
LIKE_A_TIME = re.compile(
    r"(\w*_)?(date|ts|tst|epoch|utc|when|at)|\w*(date_?time|time_?stamp)\w*"
    r"|(device|event|fix|gps|loc|local|record|sample|utc)_?time|time_?(ms|s|utc)"
    r"|(captur|creat|measur|observ|record|sampl|updat)ed(_?on)?",
    re.IGNORECASE,
)
# A time in a field of any name.
TIME_VALUE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")
PLACE = (*LAT, *LNG)
# Numbers that are a time within this span of now are taken for one.
SPAN_MS = 10 * 365 * 24 * 3600 * 1000
# The query may have the token, which is no field of a position.
TOKEN = {"token"}
# How alike a mistyped name is to the right one.
ALIKE = 0.8
# The names listed in an error, and the length of each.
LISTED = 10
LONGEST_NAME = 40
LONGEST_TIME = 40


def read(report: Report) -> Reading:
    name = report.user_agent.partition("/")[0].strip()
    reading = Reading(name[:40] if name.isprintable() and name else UNKNOWN_APP)
    if report.method == "POST" and report.is_json:
        items = dict(several(report.json()))
    else:
        items = {0: report.fields()}
    if items and (report.body or report.query.keys() - TOKEN):
        _check_names(items.values(), report.now)
    for index, fields in items.items():
        fix = None
        if has_position(fields) or len(items) > 1:
            fix = reading.add(index, _fix, fields, report.now)
            reading.add_mock(fields.get("mock"))
        reading.add_alarm(fields.get("alarm"), time_field(fields), fix, report.now)
    return reading


def ok(outcome: Outcome) -> Reply:
    for index, code, detail in outcome.rejected:
        if index == WHOLE:
            return json_error(400, code, detail)
    return json_reply(200, {"stored": outcome.stored, "rejected": outcome.rejected})


GENERIC = App(frozenset({"GET", "POST"}), read, ok, json_error)


def _check_names(items: Collection[Mapping[str, Any]], now: int) -> None:
    """Raise `FixError` if a request is not understood, or has too many fields.

    Not understood: a request without a known field, with half a place or a mistyped
    one, with a call for help in an unknown field, or with positions that all have
    their time in one. A request with `alarm` is accepted even then, so that no call
    for help is lost.
    """
    names = {name for fields in items for name in fields} - TOKEN
    if len(names) > MOST_FIELDS:
        raise FixError(
            "message.invalid",
            f"The positions have more than {MOST_FIELDS} different fields.",
        )
    if names.isdisjoint(KNOWN_NAMES):
        raise FixError(
            "message.invalid",
            "A position has the fields `lat` and `lon`. "
            + (
                f"These are not known: {_listed(names)}." if names else "There is none."
            ),
        )
    if "alarm" in names:
        return
    calls = {
        name
        for fields in items
        for name, value in fields.items()
        if isinstance(value, str) and value[:4].lower() == "sos"
    }
    if calls:
        raise FixError(
            "message.invalid",
            f"Name a call for help `alarm`; this is not known: {_listed(calls)}.",
        )
    has_place = "location" in names or (names & {*LAT} and names & {*LNG})
    if not has_place and any(_is_like(name[:LONGEST_NAME], PLACE) for name in names):
        raise FixError(
            "message.invalid",
            f"A position has the fields `lat` and `lon`, not only {_listed(names)}.",
        )
    if all(has_position(fields) and _unknown_times(fields, now) for fields in items):
        unknown = _unknown_times(next(iter(items)), now)
        raise FixError("message.invalid", _name_of_time(unknown))


def _fix(fields: Mapping[str, Any], now: int) -> Fix:
    # Otherwise an old position would become one of now.
    if unknown := _unknown_times(fields, now):
        raise FixError("position.invalid", _name_of_time(unknown))
    return fix_of_fields(fields, now)


def _name_of_time(unknown: Iterable[str]) -> str:
    return f"Name the time `timestamp`; this is not known: {_listed(unknown)}."


def _unknown_times(fields: Mapping[str, Any], now: int) -> list[str]:
    """Return the fields that may be the time of a position which has no known one."""
    if time_field(fields) is not None:
        return []
    return [
        name
        for name in fields.keys() - KNOWN_NAMES
        if _is_name_of_time(name[:LONGEST_NAME]) or _is_time(fields[name], now)
    ]


# All positions of a report have the same names.
@lru_cache(MOST_FIELDS)
def _is_name_of_time(name: str) -> bool:
    return LIKE_A_TIME.fullmatch(name) is not None or _is_like(name, TIME)


def _is_like(name: str, known: Sequence[str]) -> bool:
    return bool(get_close_matches(name.lower(), known, cutoff=ALIKE))


def _is_time(value: Any, now: int) -> bool:
    """Return whether a value is a date, or seconds or milliseconds within ten years."""
    if isinstance(value, str) and len(value) <= LONGEST_TIME:
        if TIME_VALUE.fullmatch(value):
            return True
        value = number(value)
    if type(value) not in (int, float):
        return False
    return any(abs(now - time) < SPAN_MS for time in (value, value * 1000))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name[:LONGEST_NAME]}`" for name in sorted(names)[:LISTED])
