"""What a decoder's line says, whatever its format."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

MAX_RAW = 500
MAX_CODE = 40
MAX_BIB = 12
MAX_STATION = 80
DAY = timedelta(days=1)
CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?")
# Before this, a decoder without GPS counts days from 0.
EARLIEST_YEAR = 2000
# What the database refuses: control characters, and halves of surrogate pairs.
NOT_STORED = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class Read(NamedTuple):
    """A line, and what was read from it. Without a time it is unreadable.

    It names the chip or the bib; a marker, such as a gunshot, names neither.
    """

    station: str
    raw: str
    chip: str = ""
    time: datetime | None = None
    is_marker: bool = False
    bib: str = ""


def read_of(
    station: str,
    raw: str,
    chip: str = "",
    time: datetime | None = None,
    *,
    is_marker: bool = False,
    bib: str = "",
) -> Read:
    """Return a read with texts that can be stored.

    A passing without a chip or bib, or with one that is too long, is unreadable.
    """
    chip, bib = clean(chip, MAX_CODE + 1), clean(bib, MAX_BIB + 1)
    is_named = len(chip) <= MAX_CODE and len(bib) <= MAX_BIB and bool(chip or bib)
    if not is_marker and not is_named:
        chip, bib, time = "", "", None
    station, raw = clean(station, MAX_STATION), clean(raw, MAX_RAW)
    return Read(station, raw, chip, time, is_marker, bib)


def clean(text: str, longest: int) -> str:
    """Return a text without characters that cannot be stored, cut at a length."""
    return NOT_STORED.sub("", text).strip()[:longest]


def code_of(chip: str) -> str:
    """Return a chip's code in the form in which codes are compared.

    Spreadsheets remove leading zeros, and people write small letters.
    """
    return chip.strip().upper().lstrip("0") or "0"


def moment_of_clock(
    day: str, clock: str, zone: ZoneInfo, near: datetime
) -> datetime | None:
    """Return the moment of a local `yyyy-mm-dd` and `hh:mm:ss.mmm`.

    Without a day it is the one nearest to `near`, also around midnight. Returns None
    for anything else.
    """
    if not CLOCK.fullmatch(clock):
        return None
    try:
        of_day = time.fromisoformat(clock)
        if not day:
            return local_time_near(of_day, zone, near)
        on = date.fromisoformat(day)
        is_real = on.year >= EARLIEST_YEAR
        return local_moment(on, of_day, zone, near) if is_real else None
    except (OverflowError, ValueError):
        return None


def local_moment(day: date, clock: time, zone: ZoneInfo, near: datetime) -> datetime:
    """Return the moment of a local date and time.

    An hour that the clocks repeat in autumn is the one nearest to `near`.
    """
    both = (
        datetime.combine(day, clock.replace(fold=fold), zone).astimezone(UTC)
        for fold in (0, 1)
    )
    return nearest(both, near)


def local_time_near(clock: time, zone: ZoneInfo, near: datetime) -> datetime:
    """Return the moment of a local time without a date that is nearest to `near`."""
    today = near.astimezone(zone).date()
    days = (today - DAY, today, today + DAY)
    return nearest((local_moment(day, clock, zone, near) for day in days), near)


def nearest(moments: Iterable[datetime], near: datetime) -> datetime:
    return min(moments, key=lambda moment: abs(moment - near))
