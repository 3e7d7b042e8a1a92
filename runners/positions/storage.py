"""Stores fixes and race results, many rows per transaction.

Each statement gets its rows as one JSON parameter: the recorder's thread releases the
interpreter lock once per statement instead of once per row, and no value is adapted row
by row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any, NamedTuple

import orjson
from django.db import DataError, IntegrityError, connection, models, transaction
from django.db.models import Model

from runners.models import Checkpoint, Entry, LatestPosition, News, Position, Split
from runners.models.news import Kind
from runners.positions.fix import Fix
from runners.units.clock import moment_of

logger = logging.getLogger(__name__)

# Rows per transaction.
BATCH = 2_000
# The source of positions that an uploaded file had.
FILE = "file"
# Written without a time zone, because all times are UTC.
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001


class Row(NamedTuple):
    """A fix as it is stored.

    `progress`: metres along the course. `held`: implausible, not drawn until a later
    fix confirms it. `state`: JSON of the state from which the next fix advances.
    """

    runner: int
    fix: Fix
    source: str
    progress: float | None = None
    held: bool = False
    state: str | None = None


class SplitChange(NamedTuple):
    """A split: primary keys, the time in milliseconds, the uncertainty in seconds."""

    entry: int
    checkpoint: int
    pass_number: int
    at: int
    uncertainty: float
    by_file: bool = False

    def write(self) -> None:
        """Insert the split or correct its time.

        Splits set by an organiser stay. Those of mats keep their time beside the
        phone's.
        """
        key = {
            "entry_id": self.entry,
            "checkpoint_id": self.checkpoint,
            "pass_number": self.pass_number,
        }
        value = {
            "time": moment_of(self.at),
            "uncertainty": self.uncertainty,
            "by_file": self.by_file,
        }
        Split.objects.bulk_create([Split(**key, **value)], ignore_conflicts=True)
        of_phone = Split.objects.filter(**key, by_hand=False)
        of_phone.filter(by_mat=False).update(**value)
        of_phone.filter(by_mat=True).update(
            phone_time=value["time"],
            phone_uncertainty=self.uncertainty,
            by_file=self.by_file,
        )
        News.objects.tell_of_entry(
            Kind.CHECKPOINT,
            self.entry,
            moment_of(self.at),
            checkpoint=self.checkpoint,
            pass_number=self.pass_number,
        )


class StatusChange(NamedTuple):
    """The new status of an entry; times in milliseconds."""

    entry: int
    status: str
    started: int | None
    finished: int | None

    def write(self) -> None:
        """Update the entry, except fields that an organiser or a mat has set."""
        values: dict[str, Any] = {
            "status": self.status,
            "started_at": self.started and moment_of(self.started),
            "finished_at": self.finished and moment_of(self.finished),
        }
        settled = Split.objects.filter(entry=self.entry).settled()
        kinds = set(settled.values_list("checkpoint__kind", flat=True))
        if kinds and self.status == Entry.Status.REGISTERED:
            del values["status"]
        if Checkpoint.Kind.START in kinds:
            del values["started_at"]
        if Checkpoint.Kind.FINISH in kinds:
            del values["finished_at"]
            values.pop("status", None)
        # A finish ends a right, because the runner is shown for one more hour only. A
        # start ends none and writes no `RightsChange`.
        entries = Entry.objects.all() if self.finished else models.QuerySet(Entry)
        if not values:
            return
        changed = entries.filter(pk=self.entry).exclude(status__in=Entry.OUT)
        if not changed.update(**values):
            return
        for kind, at in ((Kind.START, self.started), (Kind.FINISH, self.finished)):
            if at:
                News.objects.tell_of_entry(kind, self.entry, moment_of(at))


class ConfirmedFix(NamedTuple):
    """A held fix (by its time in milliseconds) that was confirmed."""

    runner: int
    t: int
    progress: float | None

    def write(self) -> None:
        """Mark the fix to be drawn."""
        Position.objects.filter(
            runner=self.runner, recorded_at=moment_of(self.t)
        ).update(held=False, progress=self.progress)


class StateChange(NamedTuple):
    """The state (as JSON) of a runner in a race after a fix, whose time is in ms."""

    runner: int
    t: int
    state: str

    def write(self) -> None:
        """Replace the stored state, unless a newer fix is stored."""
        LatestPosition.objects.filter(
            pk=self.runner, recorded_at__lte=moment_of(self.t)
        ).update(race_state=orjson.loads(self.state))


Change = SplitChange | StatusChange | ConfirmedFix | StateChange


def write_rows(rows: Sequence[Row], changes: Sequence[Change] = ()) -> Sequence[Row]:
    """Write rows and changes in one transaction; return the rows that were refused.

    A row whose (runner, time) is already stored changes nothing. The latest position
    only moves forward in time.
    """
    if len(rows) > BATCH:
        lost = write_rows(rows[:BATCH], changes)
        return [*lost, *write_rows(rows[BATCH:])]
    try:
        _write(rows, changes)
    except (IntegrityError, DataError):
        # A runner was deleted. The other runners' fixes must still be stored.
        if changes:
            lost = write_rows(rows)
            for change in changes:
                try:
                    with transaction.atomic():
                        change.write()
                except (IntegrityError, DataError) as error:
                    logger.warning(
                        "A race result was not stored, as its race has changed: %s",
                        error,
                    )
            return lost
        if len(rows) == 1:
            return rows
        half = len(rows) // 2
        return [*write_rows(rows[:half]), *write_rows(rows[half:])]
    return ()


def _write(rows: Sequence[Row], changes: Sequence[Change]) -> None:
    now = str(datetime.now(UTC).replace(tzinfo=None))
    newest: dict[int, Row] = {}
    for row in rows:
        known = newest.get(row.runner)
        if not row.held and (known is None or row.fix.t > known.fix.t):
            newest[row.runner] = row
    # Entries are locked before positions, and both in the order of their primary keys,
    # so that two processes never deadlock.
    latest = [newest[pk] for pk in sorted(newest)]
    results = {
        change.entry
        for change in changes
        if isinstance(change, SplitChange | StatusChange)
    }
    with transaction.atomic():
        if results:
            Entry.objects.lock(results)
        with connection.cursor() as cursor:
            if rows:
                _insert(
                    cursor,
                    _position_sql,
                    [*POSITION_COLUMNS, "held", "stored_at"],
                    [(*_position_values(row), row.held, now) for row in rows],
                )
            if latest:
                _insert(
                    cursor,
                    _latest_sql,
                    [*POSITION_COLUMNS, "race_state", "contact_at"],
                    [(*_position_values(row), row.state, now) for row in latest],
                )
        for change in changes:
            if not isinstance(change, StateChange):
                change.write()
    # Each in a transaction of its own: in that of the batch, which has locked the
    # positions of other runners, two processes would deadlock.
    for change in changes:
        if isinstance(change, StateChange):
            change.write()


def _position_values(row: Row) -> tuple[Any, ...]:
    runner, fix, source, progress, _, _ = row
    return (
        runner,
        _text(fix.t),
        fix.lat,
        fix.lng,
        fix.accuracy,
        fix.altitude,
        fix.speed,
        fix.heading,
        fix.battery,
        source,
        progress,
    )


POSITION_COLUMNS = {
    "runner_id": "bigint",
    "recorded_at": "timestamptz",
    "lat": "float8",
    "lng": "float8",
    "accuracy": "float8",
    "altitude": "float8",
    "speed": "float8",
    "heading": "float8",
    "battery": "float8",
    "source": "text",
    "progress": "float8",
}
TYPES = {
    **POSITION_COLUMNS,
    "held": "boolean",
    "stored_at": "timestamptz",
    "race_state": "jsonb",
    "contact_at": "timestamptz",
}

USUALLY_COMMON = {"source", "held", "stored_at", "contact_at"}


def _insert(
    cursor: Any,
    sql: Callable[[str, tuple[str, ...], tuple[str, ...]], str],
    names: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Insert rows, without the columns that all of them leave empty.

    Taking a value out of the JSON costs SQLite about as much as storing it, and many
    phones send a place and nothing else. What is usually the same in all rows is a
    parameter, if it is.
    """
    common, columns = {}, {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        if name in USUALLY_COMMON and values.count(values[0]) == len(values):
            common[name] = values[0]
        elif values.count(None) < len(values):
            columns[name] = values
    array = orjson.dumps(list(zip(*columns.values(), strict=True)))
    cursor.execute(
        sql(connection.vendor, tuple(common), tuple(columns)),
        [*common.values(), array.decode()],
    )


@cache
def _position_sql(
    vendor: str, common: tuple[str, ...], columns: tuple[str, ...]
) -> str:
    insert = _insert_sql(vendor, Position, common, columns)
    return f"{insert} ON CONFLICT DO NOTHING"


@cache
def _latest_sql(vendor: str, common: tuple[str, ...], columns: tuple[str, ...]) -> str:
    # Columns that are not inserted are empty in `excluded`.
    forward = ", ".join(
        f"{column} = CASE WHEN excluded.recorded_at > present.recorded_at "
        f"THEN excluded.{column} ELSE present.{column} END"
        for column in (*POSITION_COLUMNS, "race_state")
        if column != "runner_id"
    )
    return (
        _insert_sql(vendor, LatestPosition, common, columns)
        + " ON CONFLICT (runner_id) DO UPDATE"
        f" SET contact_at = excluded.contact_at, {forward}"
    )


def _insert_sql(
    vendor: str, model: type[Model], common: Sequence[str], columns: Sequence[str]
) -> str:
    """Return an INSERT of all rows of a JSON array of arrays.

    The parameters are the values of the `common` columns, then the array.
    """
    if vendor == "postgresql":
        values = [f"%s::{TYPES[name]}" for name in common]
        values += [f"(r->>{n})::{TYPES[name]}" for n, name in enumerate(columns)]
        source = "json_array_elements(%s::json) AS r"
    else:
        values = ["%s" for _ in common]
        values += [f"json_extract(value, '$[{n}]')" for n in range(len(columns))]
        # Without a condition, SQLite parses ON CONFLICT as the ON of a join.
        source = "json_each(%s) WHERE true"
    return (
        f"INSERT INTO {model._meta.db_table} AS present "  # noqa: S608
        f"({', '.join([*common, *columns])}) SELECT {', '.join(values)} FROM {source}"
    )


def _text(t: int) -> str:
    """Format a time as Django stores it in SQLite and PostgreSQL reads it, in UTC."""
    seconds, ms = divmod(t, 1000)
    return f"{_second(seconds)}.{ms:03d}000" if ms else _second(seconds)


@lru_cache(4096)
def _second(seconds: int) -> str:
    return str(EPOCH + timedelta(seconds=seconds))
