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
        entries = entries_of_chips(race, [read.chip for read in reads if read.chip])
        rows = [
            Passing(
                race=race,
                source=source,
                station=stations[read.station or NAMELESS],
                chip=read.chip,
                time=read.time,
                raw=read.raw,
                received_at=now,
                entry_id=entries.get(code_of(read.chip)) if read.chip else None,
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


def passings_reassign(*, race: Race, chips: Collection[str] | None = None) -> None:
    """Find the entries of all passings, or of some chips', again; update the splits."""
    passings = Passing.objects.filter(race=race).exclude(chip="")
    codes = set(passings.values_list("chip", flat=True).distinct())
    if chips is not None:
        codes = {chip for chip in codes if code_of(chip) in chips}
    entries = entries_of_chips(race, codes)
    concerned: set[int] = set()
    with transaction.atomic():
        for chip in codes:
            entry = entries.get(code_of(chip))
            of_chip = passings.filter(chip=chip)
            before = set(of_chip.values_list("entry", flat=True).distinct())
            if before != {entry}:
                for row in of_chip:
                    row.entry_id = entry
                    row.state = _state(row, race, is_marker=False)
                    row.save(update_fields=["entry", "state"])
                concerned |= {pk for pk in (*before, entry) if pk is not None}
        mat_splits_update(race=race, entries=concerned)


def entries_of_chips(race: Race, chips: Iterable[str]) -> dict[str, int]:
    """Map the codes of chips to entries.

    In a race without a table of chips, a chip is the bib of the same number.
    """
    codes = {code_of(chip) for chip in chips}
    known = Chip.objects.filter(race=race)
    if known.exists():
        return dict(known.filter(code__in=codes).values_list("code", "entry"))
    bibs = Entry.objects.filter(race=race, bib__in=codes)
    return dict(bibs.values_list("bib", "pk"))


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
    chips = {row.chip for row in rows if row.time is not None}
    raws = {row.raw for row in rows if row.time is None}
    stored = Passing.objects.filter(
        Q(chip__in=chips) | Q(time=None, raw__in=raws),
        station__in={row.station_id for row in rows},
    )
    known = {_identity(row) for row in stored}
    return list(
        {_identity(row): row for row in rows if _identity(row) not in known}.values()
    )


def _identity(row: Passing) -> tuple[object, ...]:
    """Return what the constraints of `Passing` compare."""
    return row.station_id, row.chip, row.time, row.raw if row.time is None else ""
