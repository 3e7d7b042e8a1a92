"""Stores what decoders send, each passing once, and keeps splits up to date."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from runners.models import Chip, Entry, Passing, Race, Station
from runners.models.race import WINDOW_BEFORE_START
from runners.timing.reads import Read, code_of
from runners.timing.splits import mat_splits_update

State = Passing.State
# A chip and a bib, one of which is empty, as a decoder sent them.
Named = tuple[str, str]

# How far a decoder's clock may be ahead of the server's.
CLOCK_AHEAD = timedelta(minutes=1)
# Without a name, a station cannot be mapped; this one is shown instead.
NAMELESS = "(no name)"


def passings_store(*, race: Race, source: str, reads: Sequence[Read]) -> int:
    """Store reads, and the splits that follow; return how many were new.

    Everything is committed on return, so that the decoder may be sent an
    acknowledgement. Reads that are stored already change nothing.
    """
    now = timezone.now()
    with transaction.atomic():
        stations = _stations(race, reads)
        entries = entries_of(race, {(read.chip, read.bib) for read in reads})
        rows = [
            Passing(
                race=race,
                source=source,
                station=stations[read.station or NAMELESS],
                chip=read.chip,
                time=read.time,
                bib=read.bib,
                raw=read.raw,
                received_at=now,
                entry_id=entries.get((read.chip, read.bib)),
            )
            for read in reads
        ]
        for row, read in zip(rows, reads, strict=True):
            row.state = _state(row, race, is_marker=read.is_marker)
        new = _without_stored(rows)
        Passing.objects.bulk_create(new, batch_size=200, ignore_conflicts=True)
        concerned = {row.entry_id for row in new if row.entry_id is not None}
        mat_splits_update(race=race, entries=concerned)
    return len(new)


def passings_reassign(*, race: Race) -> None:
    """Find the entries of all passings again, and update the splits."""
    passings = Passing.objects.filter(race=race)
    pairs = set(passings.values_list("chip", "bib").distinct())
    concerned: set[int] = set()
    with transaction.atomic():
        entries = entries_of(race, pairs)
        for chip, bib in pairs:
            entry = entries.get((chip, bib))
            moved = list(passings.filter(chip=chip, bib=bib).exclude(entry=entry))
            for row in moved:
                concerned |= {pk for pk in (row.entry_id, entry) if pk is not None}
                row.entry_id = entry
                row.state = _state(row, race, is_marker=row.state == State.MARKER)
            Passing.objects.bulk_update(moved, ["entry", "state"], batch_size=200)
        mat_splits_update(race=race, entries=concerned)


def passings_recompute(*, race: Race) -> None:
    """Update the splits of all passings, after the start of a race or wave changed.

    Outside a transaction, each batch of entries is committed separately.
    """
    entries = Passing.objects.filter(race=race).exclude(entry=None)
    pks = set(entries.values_list("entry", flat=True))
    if pks:
        mat_splits_update(race=race, entries=pks)


def entries_of(race: Race, pairs: Collection[Named]) -> dict[Named, int]:
    """Map chips and bibs, as they were sent, to entries.

    In a race without a table of chips, a chip is the bib of the same number.
    """
    codes = {code_of(chip) for chip, _ in pairs if chip}
    chips = Chip.objects.filter(race=race)
    has_table = chips.exists()
    of_chip = dict(chips.filter(code__in=codes).values_list("code", "entry"))
    bibs = {bib for _, bib in pairs} | (set() if has_table else codes)
    entries = Entry.objects.filter(race=race, bib__in=bibs)
    of_bib = dict(entries.values_list("bib", "pk"))
    known = of_chip if has_table else of_bib
    found = {
        (chip, bib): of_bib.get(bib) if bib else known.get(code_of(chip))
        for chip, bib in pairs
        if chip or bib
    }
    return {pair: entry for pair, entry in found.items() if entry is not None}


def _stations(race: Race, reads: Iterable[Read]) -> dict[str, Station]:
    """Return the stations by name; create the unknown ones.

    A new one with the name of a checkpoint belongs to it.
    """
    names = {read.station or NAMELESS for read in reads}
    known = {station.name: station for station in race.stations.filter(name__in=names)}
    for name in sorted(names - known.keys()):
        known[name], is_new = Station.objects.get_or_create(race=race, name=name)
        if is_new:
            known[name].checkpoints.set(
                race.checkpoints.filter(Q(name__iexact=name) | Q(kind=name.lower()))
            )
    return known


def _state(row: Passing, race: Race, *, is_marker: bool) -> str:
    """Return the state of a read that has not been compared with others."""
    if row.time is None:
        return State.UNREADABLE
    if not _in_time(row.time, row.received_at, race):
        return State.CLOCK
    if is_marker:
        return State.MARKER
    return State.CHIP if row.entry_id is None else State.STATION


def _in_time(time: datetime, received_at: datetime, race: Race) -> bool:
    opens = race.start - WINDOW_BEFORE_START
    return opens <= time <= min(race.ends, received_at + CLOCK_AHEAD)


def _without_stored(rows: Sequence[Passing]) -> list[Passing]:
    """Return the rows that are not stored yet, each once."""
    times = {row.time for row in rows if row.time is not None}
    raws = {row.raw for row in rows if row.time is None}
    # With chips and bibs, an index finds the rows among thousands of a station.
    stored = Passing.objects.filter(
        Q(time__in=times) | Q(time=None, raw__in=raws),
        station__in={row.station_id for row in rows},
        chip__in={row.chip for row in rows},
        bib__in={row.bib for row in rows},
    )
    known = {_identity(row) for row in stored}
    return list(
        {_identity(row): row for row in rows if _identity(row) not in known}.values()
    )


def _identity(row: Passing) -> tuple[object, ...]:
    """Return what the constraints of `Passing` compare."""
    raw = row.raw if row.time is None else ""
    return row.station_id, row.chip, row.bib, row.time, raw
