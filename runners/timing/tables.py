"""Tables of chips and of passings, from spreadsheets: rows and their faults."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import transaction

from runners.models import Chip, Entry, Race
from runners.models.race import WINDOW_BEFORE_START
from runners.timing.reads import (
    MAX_CODE,
    Read,
    code_of,
    local_moment,
    local_time_near,
    read_of,
)
from runners.timing.storage import passings_reassign

CHIP_COLUMNS = ("chip", "bib")
PASSING_COLUMNS = ("station", "time", "chip", "bib")

HALF_A_DAY = timedelta(hours=12)

Row = tuple[int, Mapping[str, str]]


class Fault(NamedTuple):
    """An error in one cell of a file."""

    row: int
    column: str
    value: str
    says: str


class ChipTable(NamedTuple):
    """Chips by code, with the keys of their entries, and the faulty cells."""

    chips: dict[str, int]
    faults: list[Fault]


class PassingTable(NamedTuple):
    """The passings of a file, and the faulty cells."""

    reads: list[Read]
    faults: list[Fault]


def rows_of(
    numbered: Iterable[tuple[int, Sequence[str]]],
) -> tuple[list[str], list[Row]]:
    """Return the headings in small letters, and rows as mappings with their numbers."""
    lines = iter(numbered)
    _, heads = next(lines, (0, ()))
    headings = [head.strip().lower() for head in heads]
    return headings, [
        (number, dict(zip(headings, cells, strict=False))) for number, cells in lines
    ]


def chip_table(race: Race, rows: Iterable[Row]) -> ChipTable:
    """Read a table of chips; a chip that is listed twice is a fault."""
    entries = dict(race.entries.values_list("bib", "pk"))
    chips: dict[str, int] = {}
    faults = []
    for number, cells in rows:
        chip, bib = cells.get("chip", ""), cells.get("bib", "")
        code = code_of(chip)
        if not chip or len(chip) > MAX_CODE:
            faults.append(Fault(number, "chip", chip, f"1 to {MAX_CODE} characters."))
        elif bib not in entries:
            faults.append(Fault(number, "bib", bib, "No such bib is entered."))
        elif chips.get(code, entries[bib]) != entries[bib]:
            faults.append(Fault(number, "chip", chip, "A bib above has this chip."))
        else:
            chips[code] = entries[bib]
    return ChipTable(chips, faults)


@transaction.atomic
def chips_import(*, race: Race, chips: Mapping[str, int]) -> None:
    """Add chips, or give them to different entries; the splits follow."""
    valid = set(
        Entry.objects.filter(race=race, pk__in=chips.values()).values_list(
            "pk", flat=True
        )
    )
    Chip.objects.bulk_create(
        (
            Chip(race=race, code=code, entry_id=entry)
            for code, entry in chips.items()
            if entry in valid
        ),
        update_conflicts=True,
        unique_fields=["race", "code"],
        update_fields=["entry"],
        batch_size=500,
    )
    passings_reassign(race=race)


def passing_table(race: Race, rows: Iterable[Row]) -> PassingTable:
    """Read passings; times are local times of the race, with or without a date."""
    zone = ZoneInfo(race.timezone)
    reads, faults = [], []
    for number, cells in rows:
        fault = _fault_of_passing(number, cells)
        moment = _moment(cells.get("time", ""), race, zone)
        if fault is None and moment is None:
            says = "Write it like 09:12:03.4 or 2026-05-31 09:12:03.4."
            fault = Fault(number, "time", cells.get("time", ""), says)
        if fault is not None:
            faults.append(fault)
            continue
        chip = cells.get("chip", "")
        reads.append(
            read_of(
                cells["station"],
                ";".join(cells.get(column, "") for column in PASSING_COLUMNS),
                chip,
                moment,
                # A file that has both names the chip.
                bib="" if chip else cells.get("bib", ""),
            )
        )
    return PassingTable(reads, faults)


def _fault_of_passing(number: int, cells: Mapping[str, str]) -> Fault | None:
    if not cells.get("station"):
        return Fault(number, "station", "", "Name the mat.")
    if not cells.get("chip") and not cells.get("bib"):
        return Fault(number, "chip", "", "Name the chip or the bib.")
    if len(cells.get("chip", "")) > MAX_CODE:
        return Fault(number, "chip", cells["chip"], f"At most {MAX_CODE} characters.")
    return None


def _moment(text: str, race: Race, zone: ZoneInfo) -> datetime | None:
    """Return a moment; a time without a date is the first one of the race."""
    try:
        if " " not in text and "T" not in text:
            middle = race.start - WINDOW_BEFORE_START + HALF_A_DAY
            return local_time_near(_time(text), zone, middle)
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is not None:
        return moment
    return local_moment(moment.date(), moment.time(), zone, race.start)


def _time(text: str) -> time:
    hours, minutes, seconds = text.split(":")
    return time.fromisoformat(f"{int(hours):02}:{minutes}:{seconds}")


def kind_of(headings: Collection[str]) -> str | None:
    """Return what a file with these headings is: `passings`, `chips`, or None."""
    if {"station", "time"} <= set(headings):
        return "passings"
    return "chips" if set(CHIP_COLUMNS) <= set(headings) else None
