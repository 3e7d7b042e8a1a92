r"""RACE RESULT's exporters: its software posts each passing by HTTP.

The body has one or more records, each with a line end: "Raw Data Record JSON",

    {"Bib": 50001, "TimingPoint": "START", "Time": 32795.944, "Passing":
     {"Transponder": "ZICAD30", "UTCTime": "2024-01-12T09:06:35.944Z"}}

or the line of a decoder ("Raw Data Record V2"). The sources are in docs/timing.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from runners.timing.raceresult import read_of_line
from runners.timing.reads import Read, local_time_near, read_of

DAY_MS = 86_400_000
# The station of lines that do not name their box.
NAMELESS = "RACE RESULT"


def reads_of_body(body: bytes, zone: ZoneInfo, now: datetime) -> Iterator[Read]:
    """Yield the passings of a request; every sequence of bytes is some."""
    for record in _records(body):
        if isinstance(record, str):
            yield read_of_line(record, NAMELESS, zone, now)
        else:
            yield _read(record, zone)


def _records(body: bytes) -> Iterator[dict[str, Any] | str]:
    """Return the records of a body: of JSON, or else its lines."""
    text = body.decode("utf-8-sig", errors="replace")
    for part in [text] if _json(text) is not None else text.splitlines():
        parsed = _json(part)
        if isinstance(parsed, list):
            for each in parsed:
                yield each if isinstance(each, dict) else str(each)
        elif isinstance(parsed, dict):
            yield parsed
        elif part.strip():
            yield part.strip()


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _read(record: dict[str, Any], zone: ZoneInfo) -> Read:
    """Read a record; one that its software has marked as invalid has no time."""
    passing = record.get("Passing")
    passing = passing if isinstance(passing, dict) else {}
    bib = _text(record.get("Bib"))
    is_bib = bib not in ("", "0")
    return read_of(
        _text(record.get("TimingPoint")),
        orjson.dumps(record).decode(),
        # The software knows the bib of most transponders; a read names one of both.
        "" if is_bib else _text(passing.get("Transponder")),
        None if record.get("Invalid") is True else _moment(record, passing, zone),
        is_marker=passing.get("IsMarker") is True,
        bib=bib if is_bib else "",
    )


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _moment(
    record: dict[str, Any], passing: dict[str, Any], zone: ZoneInfo
) -> datetime | None:
    """Return the moment of a record.

    `Time` has seconds since midnight on the clock of the race. `UTCTime` gives the day:
    in RACE RESULT's own example it is that clock too, although it ends with Z.
    """
    try:
        near = datetime.fromisoformat(_text(passing.get("UTCTime")))
        if near.tzinfo is None:
            near = near.replace(tzinfo=UTC)
        seconds = record.get("Time")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            return near.astimezone(UTC)
        since_midnight = timedelta(milliseconds=round(seconds * 1000) % DAY_MS)
        clock = (datetime.min + since_midnight).time()
        return local_time_near(clock, zone, near)
    except (ValueError, OverflowError):
        # Also a day before the first one, or an infinite time.
        return None
