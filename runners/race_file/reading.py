"""Imports a race from a file, completely or not at all."""

from __future__ import annotations

import gzip
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, transaction
from msgspec.structs import asdict

from runners import race_file
from runners.models import (
    Checkpoint,
    Entry,
    LatestPosition,
    Race,
    RightsChange,
    Runner,
    Split,
    Wave,
)
from runners.models.errors import one_line
from runners.models.runner import palette_colour
from runners.positions.fix import Fix
from runners.positions.privacy_rules import forget_hidden
from runners.positions.storage import BATCH, Row, write_rows
from runners.positions.validation import FixError, check_fix, fix_from
from runners.races.arrival.pacing import Prior
from runners.races.course import Course
from runners.races.gpx_import import CourseError
from runners.units.clock import moment_of, now_ms

NO_RACE_FILE = "This is not a file of `manage.py export_race`."
Fields = dict[str, Any]


class RaceFileError(ValueError):
    """A file that cannot be imported; its text gives the reason and the line."""


@transaction.atomic
def race_read(*, path: Path, replace: bool = False) -> tuple[Race, Counter[str]]:
    """Create the race of a file; return it and the number of created rows by kind.

    With `replace`, replace a race with the same slug; links to it stay. Raises
    `RaceFileError` and OSError, and then changes nothing.
    """
    reader = _Reader(replace)
    number = 0
    try:
        with gzip.open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    _check_head(_object(line))
                else:
                    reader.read_line(*_kind_and_fields(_object(line)))
    except RaceFileError as error:
        raise RaceFileError(f"line {number}: {error}") from error
    except gzip.BadGzipFile as error:
        raise RaceFileError(NO_RACE_FILE) from error
    except (EOFError, zlib.error):
        pass  # The missing end is reported below.
    if reader.race is None or not reader.counts["end"]:
        raise RaceFileError("The file is incomplete: its end is missing.")
    return reader.race, reader.counts


def _object(line: bytes) -> Fields:
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        raise RaceFileError(NO_RACE_FILE)
    return data


def _check_head(data: Fields) -> None:
    if data.get("spectate") != "race":
        raise RaceFileError(NO_RACE_FILE)
    if data.get("format") != race_file.FORMAT:
        raise RaceFileError(
            f"The file's format is {data.get('format')}, and this version reads "
            f"{race_file.FORMAT}. Import it with the version that wrote it."
        )


def _kind_and_fields(data: Fields) -> tuple[str, Fields]:
    kind, fields = next(iter(data.items())) if len(data) == 1 else ("", None)
    if kind not in race_file.KINDS or not isinstance(fields, dict):
        raise RaceFileError(f"A line is one of {', '.join(race_file.KINDS)}.")
    return kind, fields


class _Reader:
    """Processes the lines of a file in order. Rows of a kind are created together."""

    def __init__(self, replace: bool) -> None:
        self.replace = replace
        self.race: Race | None = None
        self.counts: Counter[str] = Counter()
        self._waves: dict[str, Wave] = {}
        self._checkpoints: dict[int, Checkpoint] = {}
        self._runners: dict[str, Runner] = {}
        self._latest: dict[str, Fields | None] = {}
        self._new: set[str] = set()
        self._entries: dict[str, Entry] = {}
        self._splits: list[Split] = []
        self._rows: list[Row] = []
        # The windows that runners agreed to when they accepted the replaced race.
        self._agreed: dict[int, tuple[datetime, datetime]] = {}
        self._stage = 0
        self._begun = time.time() - 1
        self._readers: dict[str, Callable[[Fields], None]] = {
            "race": self._race,
            "wave": self._wave,
            "checkpoint": self._checkpoint,
            "runner": self._runner,
            "entry": self._entry,
            "split": self._split,
            "track": self._track,
            "end": self._end,
        }

    def read_line(self, kind: str, fields: Fields) -> None:
        """Read a line; raises `RaceFileError`."""
        stage = race_file.KINDS.index(kind)
        if stage < self._stage or (self.race is None) != (kind == "race"):
            raise RaceFileError(f"`{kind}` cannot come here.")
        while self._stage < stage:
            self._make(race_file.KINDS[self._stage])
            self._stage += 1
        try:
            self._readers[kind](fields)
        except RaceFileError:
            raise
        except KeyError as error:
            raise RaceFileError(f"{kind}: {error} is missing or unknown.") from error
        except ValidationError as error:
            raise RaceFileError(f"{kind}: {one_line(error)}") from error
        except (TypeError, ValueError) as error:
            raise RaceFileError(f"{kind}: {error}") from error
        self.counts[kind] += 1

    def _make(self, kind: str) -> None:
        """Store the rows of a kind after its last line."""
        try:
            with transaction.atomic():
                if kind == "wave":
                    Wave.objects.bulk_create(self._waves.values())
                elif kind == "checkpoint":
                    Checkpoint.objects.bulk_create(self._checkpoints.values())
                elif kind == "runner":
                    new = [self._runners[code] for code in self._new]
                    Runner.objects.bulk_create(new)
                elif kind == "entry":
                    self._make_entries()
                elif kind == "split":
                    Split.objects.bulk_create(self._splits, batch_size=BATCH)
        except (IntegrityError, DataError) as error:
            reason = " ".join(str(error).split())
            raise RaceFileError(f"a {kind} contradicts another: {reason}") from error

    def _race(self, fields: Fields) -> None:
        values = _picked(fields, race_file.RACE)
        race = Race.objects.filter(slug=values["slug"]).first()
        if race is None:
            race = Race(**values)
        elif not self.replace:
            raise RaceFileError(
                f"There is a race {race.slug} already. With --replace it becomes that "
                "of the file."
            )
        for name, value in values.items():
            setattr(race, name, value)
        race.full_clean()
        if race.pacing is not None:
            Prior.from_json(race.pacing)
        try:
            if race.line:
                Course(race.line, race.length)
        except CourseError as error:
            raise RaceFileError(f"race: {error}") from error
        race.save()
        accepted = race.entries.filter(accepted=True)
        self._agreed = {
            runner: (agreed_from, agreed_until)
            for runner, agreed_from, agreed_until in accepted.values_list(
                "runner", "shown_from", "shown_until"
            )
        }
        for old in (race.entries, race.waves, race.checkpoints):
            old.all().delete()
        self.race = race

    def _wave(self, fields: Fields) -> None:
        wave = Wave(race=self.race, **_picked(fields, race_file.WAVE))
        wave.clean_fields(exclude=["race"])
        self._waves[wave.name] = wave

    def _checkpoint(self, fields: Fields) -> None:
        checkpoint = Checkpoint(race=self.race, **_picked(fields, race_file.CHECKPOINT))
        checkpoint.clean_fields(exclude=["race"])
        self._checkpoints[fields["id"]] = checkpoint

    def _runner(self, fields: Fields) -> None:
        runner = Runner(**_picked(fields, race_file.RUNNER))
        runner.clean_fields()
        runner.colour = runner.colour or palette_colour(runner.code)
        here = Runner.objects.filter(code=runner.code).first()
        if here is None:
            self._new.add(runner.code)
        elif here.name != runner.name:
            raise RaceFileError(
                f"Runner {runner.code} is {here.name} here and {runner.name} in the "
                "file. Two people cannot have one code: delete or rename the one here."
            )
        self._runners[runner.code] = here or runner
        self._latest[runner.code] = fields["latest"]

    def _entry(self, fields: Fields) -> None:
        code, wave = fields["runner"], fields["wave"]
        runner = self._runners[code]
        entry = Entry(
            race=self.race,
            runner=runner,
            wave=None if wave is None else self._waves[wave],
            **_picked(fields, race_file.ENTRY),
        )
        entry.clean_fields(exclude=["race", "runner", "wave"])
        if runner.account_id is not None:
            # The file does not contain the consent, because runners give it on each
            # installation.
            entry.accepted = runner.pk in self._agreed
            if entry.accepted:
                entry.shown_from, entry.shown_until = self._agreed[runner.pk]
        self._entries[code] = entry

    def _make_entries(self) -> None:
        entries = list(self._entries.values())
        Entry.objects.bulk_create(entries)
        RightsChange.objects.note(
            RightsChange.Kind.RUNNER, [entry.runner_id for entry in entries]
        )

    def _split(self, fields: Fields) -> None:
        split = Split(
            entry=self._entries[fields["runner"]],
            checkpoint=self._checkpoints[fields["checkpoint"]],
            **_picked(fields, race_file.SPLIT),
        )
        split.clean_fields(exclude=["entry", "checkpoint"])
        self._splits.append(split)

    def _track(self, fields: Fields) -> None:
        runner = self._runners[fields["runner"]]
        fixes = [_row(runner.pk, fix) for fix in fields["fixes"]]
        self.counts["fix"] += len(fixes)
        self._rows += fixes
        if len(self._rows) >= BATCH:
            write_rows(self._rows)
            self._rows.clear()

    def _end(self, fields: Fields) -> None:
        lines = self.counts.total() - self.counts["fix"]
        if fields["lines"] != lines:
            raise RaceFileError(
                f"{fields['lines']} lines come before this one, not {lines}."
            )
        write_rows(self._rows)
        for code, runner in self._runners.items():
            if (latest := self._latest[code]) is not None:
                self._set_latest(runner, latest, self._entries.get(code))
            elif code in self._new:
                # Positions since the race are not in the file.
                LatestPosition.objects.filter(pk=runner.pk).delete()
            if code not in self._new:
                # Positions that were hidden or erased after the export stay hidden or
                # erased.
                forget_hidden(runner.pk, stored_within=time.time() - self._begun)

    def _set_latest(self, runner: Runner, fields: Fields, entry: Entry | None) -> None:
        row = _row(runner.pk, fields["fix"])
        recorded_at = moment_of(row.fix.t)
        here = LatestPosition.objects.filter(pk=runner.pk).first()
        if here is not None and here.recorded_at > recorded_at:
            return
        state = None
        if fields["state"] is not None and entry is not None:
            # The version is missing, so that the next fix causes a replay of the track.
            state = {"entry": entry.pk, "version": None, "state": fields["state"]}
        measured = asdict(row.fix)
        del measured["t"]
        LatestPosition(
            runner=runner,
            recorded_at=recorded_at,
            contact_at=recorded_at,
            progress=row.progress,
            source=row.source,
            race_state=state,
            **measured,
        ).save()


def _picked(fields: Fields, names: Sequence[str]) -> Fields:
    return {name: fields[name] for name in names}


def _row(runner: int, values: Any) -> Row:
    """Read a fix of a track; raises `RaceFileError`."""
    named = dict(zip(race_file.FIX, values, strict=True))
    t, progress = named["recorded_at"], named["progress"]
    source, held = named["source"], named["held"]
    if (
        type(t) is not int
        or not isinstance(progress, float | int | None)
        or not isinstance(source, str)
        or type(held) is not bool
    ):
        raise RaceFileError(f"track: {values} is not a fix.")
    try:
        fix: Fix = fix_from(named, t)
        check_fix(fix, now_ms())
    except FixError as error:
        raise RaceFileError(f"track: {error}") from error
    return Row(runner, fix, source[:20], progress, held)
