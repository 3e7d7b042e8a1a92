"""Exports a race to a file."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from django.db.models import Model, Q
from django.utils import timezone

from runners import race_file
from runners.models import Entry, LatestPosition, Position, Race, Runner, Split
from runners.models.race import WINDOW_BEFORE_START
from runners.units.clock import milliseconds

# Limit of fixes per line.
FIXES_A_LINE = 1_000


def race_write(*, race: Race, path: Path, tracks: bool = True) -> Counter[str]:
    """Write a race into a file; return the number of rows by kind, including fixes.

    The file is renamed when it is complete, so that no partial file is left. Only its
    owner may read it.
    """
    counts: Counter[str] = Counter()
    coming = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(coming, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with (
            open(descriptor, "wb") as raw,
            gzip.open(raw, "wb", compresslevel=6) as out,
        ):
            head = {"spectate": "race", "format": race_file.FORMAT}
            out.write(orjson.dumps(head | {"exported_at": timezone.now()}) + b"\n")
            for kind, fields in _lines(race, tracks):
                out.write(orjson.dumps({kind: fields}) + b"\n")
                counts[kind] += 1
                counts["fix"] += len(fields["fixes"]) if kind == "track" else 0
            out.write(orjson.dumps({"end": {"lines": counts.total() - counts["fix"]}}))
        coming.replace(path)
    finally:
        coming.unlink(missing_ok=True)
    return counts


def _lines(race: Race, tracks: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "race", _fields(race, race_file.RACE)
    for wave in race.waves.all():
        yield "wave", _fields(wave, race_file.WAVE)
    for checkpoint in race.checkpoints.all():
        fields = _fields(checkpoint, race_file.CHECKPOINT)
        yield "checkpoint", {"id": checkpoint.pk} | fields
    entries = list(
        Entry.objects.shown().filter(race=race).select_related("runner", "wave")
    )
    guns = [race.start, *(entry.gun for entry in entries)]
    opens = min(guns) - WINDOW_BEFORE_START
    latest = {
        row.runner_id: row
        for row in LatestPosition.objects.filter(
            runner__in=[entry.runner_id for entry in entries],
            recorded_at__gte=opens,
            recorded_at__lte=race.ends,
        )
    }
    for entry in entries:
        fields = _fields(entry.runner, race_file.RUNNER)
        last = latest.get(entry.runner_id)
        yield "runner", fields | {"latest": last and _latest(last, entry)}
    codes = {}
    for entry in entries:
        codes[entry.pk] = code = entry.runner.code
        fields = _fields(entry, race_file.ENTRY)
        wave_name = entry.wave and entry.wave.name
        yield "entry", {"runner": code, "wave": wave_name} | fields
    for split in Split.objects.filter(entry__race=race).order_by("entry", "time"):
        # Somebody may have been entered meanwhile.
        if code := codes.get(split.entry_id, ""):
            fields = _fields(split, race_file.SPLIT)
            yield "split", {"runner": code, "checkpoint": split.checkpoint_id} | fields
    if tracks:
        for entry in entries:
            agreed_from, agreed_until = entry.agreed
            window = max(opens, agreed_from), min(race.ends, agreed_until)
            yield from _tracks(entry.runner, Q(recorded_at__range=window))


def _fields(row: Model, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _latest(row: LatestPosition, entry: Entry) -> dict[str, Any]:
    """Return a runner's last fix, and the state from which the next one continues."""
    carried: Mapping[str, Any] = row.race_state or {}
    state = carried["state"] if carried.get("entry") == entry.pk else None
    values = [getattr(row, name) for name in race_file.FIX[1:-1]]
    return {"fix": [milliseconds(row.recorded_at), *values, False], "state": state}


def _tracks(runner: Runner, during: Q) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = (
        Position.objects.filter(during, runner=runner)
        .order_by("recorded_at")
        .values_list(*race_file.FIX)
        .iterator()
    )
    while fixes := [_timed(*row) for row in islice(rows, FIXES_A_LINE)]:
        yield "track", {"runner": runner.code, "fixes": fixes}


def _timed(recorded_at: datetime, *measured: object) -> list[object]:
    return [milliseconds(recorded_at), *measured]
