"""Writes accepted fixes in batches, outside the hot path.

One thread with a connection of its own. A future handed out by `record` is done
after the commit that holds its fixes. While the database is away the batch is tried
again and again; beyond `CAPACITY` rows new ones are turned away and counted.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DataError, IntegrityError, connection, transaction
from django.db import Error as DatabaseError

from runners.models import LatestPosition, Position
from runners.positions.fix import Fix
from runners.store import prepare_connection

logger = logging.getLogger(__name__)

# How long fixes are gathered before a commit. Seconds.
GATHER = 0.05
# Rows of one statement: their parameters stay under the databases' limits.
BATCH = 2_000
# Rows that may wait, some tens of megabytes.
CAPACITY = 100_000
# Between attempts while the database is away. Seconds.
RETRY = 0.5

COLUMNS = (
    "runner_id",
    "recorded_at",
    "lat",
    "lng",
    "accuracy",
    "altitude",
    "speed",
    "heading",
    "battery",
    "source",
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = tuple[int, Fix, str]


class RecorderFull(Exception):
    """More fixes wait for the database than memory should hold."""


class Recorder:
    """The process's one writer of positions."""

    def __init__(self) -> None:
        self.stored = 0
        # Fixes that will never be stored, by reason.
        self.not_stored: Counter[str] = Counter()
        # How long the last commit took. Seconds.
        self.commit_seconds = 0.0
        self._rows: deque[tuple[Sequence[Row], Waiter | None]] = deque()
        self._waiting = 0
        # When the oldest row that waits was queued; None when none waits.
        self._waiting_since: float | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Count the rows that are not committed yet."""
        return self._waiting

    @property
    def oldest(self) -> float:
        """Return for how long the oldest row has waited. Seconds."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    def record(self, rows: Sequence[Row]) -> asyncio.Future[int]:
        """Queue rows; the future is done when they are in the database.

        Its result is how many the database refused (their runner is gone). Raises
        `RecorderFull`, and then keeps none of them.
        """
        waiter = Waiter()
        self._queue(rows, waiter)
        return waiter.future

    def record_unacked(self, rows: Sequence[Row]) -> None:
        """Queue rows that nobody waits for; when full they are only counted."""
        try:
            self._queue(rows, None)
        except RecorderFull:
            self.not_stored["full"] += len(rows)

    async def flushed(self) -> None:
        """Wait until what was queued before is committed or refused."""
        if self._waiting:
            waiter = Waiter()
            self._rows.append(((), waiter))
            self._wake.set()
            await waiter.future

    def _queue(self, rows: Sequence[Row], waiter: Waiter | None) -> None:
        if self._waiting + len(rows) > CAPACITY:
            raise RecorderFull
        with self._lock:
            self._waiting += len(rows)
            if self._waiting_since is None:
                self._waiting_since = time.monotonic()
        self._rows.append((rows, waiter))
        if self._thread is None:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def _start(self) -> None:
        self._stopping = False
        # For servers that have no end of life to hook into, as Daphne.
        atexit.register(self.stop)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Store what waits, then end the thread. Blocks."""
        thread = self._thread
        if thread is not None:
            self._stopping = True
            self._wake.set()
            thread.join(timeout)
            self._thread = None
            atexit.unregister(self.stop)

    # In the thread

    def _run(self) -> None:
        while not (self._stopping and not self._rows):
            self._wake.wait()
            if not self._stopping:
                time.sleep(GATHER)
            self._wake.clear()
            while self._rows:
                self._store(self._take())
        connection.close()

    def _take(self) -> list[tuple[Sequence[Row], Waiter | None]]:
        batch: list[tuple[Sequence[Row], Waiter | None]] = []
        size = 0
        while self._rows and (not batch or size + len(self._rows[0][0]) <= BATCH):
            batch.append(self._rows.popleft())
            size += len(batch[-1][0])
        return batch

    def _store(self, batch: list[tuple[Sequence[Row], Waiter | None]]) -> None:
        rows = [row for rows, _ in batch for row in rows]
        lost: Sequence[Row] | None = ()
        if rows:
            try:
                lost = self._store_rows(rows)
            except Exception:
                # The thread must live, whatever is wrong with these.
                logger.exception("Positions could not be stored")
                self.not_stored["failed"] += len(rows)
                lost = None
        stored = lost is not None
        lost = lost or ()
        self.stored += len(rows) - len(lost) if stored else 0
        with self._lock:
            self._waiting -= len(rows)
            # What came meanwhile is younger than this commit.
            self._waiting_since = time.monotonic() if self._waiting else None
        lost_ids = {id(row) for row in lost}
        for waiting_rows, waiter in batch:
            # Who waits for what is not stored gets no ack, and sends it again.
            if waiter is not None and (stored or not waiting_rows):
                waiter.done(sum(id(row) in lost_ids for row in waiting_rows))

    def _store_rows(self, rows: Sequence[Row]) -> Sequence[Row] | None:
        """Write rows, however long it takes; return those that never can be.

        None if the process stops before the database is back.
        """
        while True:
            started = time.perf_counter()
            try:
                prepare_connection()
                lost = write(rows)
            except DatabaseError as error:
                logger.warning("Positions wait: the database failed: %s", error)
                connection.close()
                if self._stopping:
                    self.not_stored["stopped"] += len(rows)
                    return None
                time.sleep(RETRY)
            else:
                self.commit_seconds = time.perf_counter() - started
                if lost:
                    self.not_stored["refused"] += len(lost)
                return lost


class Waiter:
    """A future of an event loop that another thread can finish."""

    def __init__(self) -> None:
        self.future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def done(self, lost: int) -> None:
        # If the loop is closed, nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self.future.get_loop().call_soon_threadsafe(self._finish, lost)

    def _finish(self, lost: int) -> None:
        if not self.future.done():
            self.future.set_result(lost)


def write(rows: Sequence[Row]) -> Sequence[Row]:
    """Write rows in one transaction; return those that the database refuses.

    A row whose (runner, time) is stored already changes nothing. The latest position
    moves only forward in time, whoever writes.
    """
    if len(rows) > BATCH:
        return [*write(rows[:BATCH]), *write(rows[BATCH:])]
    try:
        _write(rows)
    except (IntegrityError, DataError):
        # A runner was deleted since: the others' fixes must not go with theirs.
        if len(rows) == 1:
            return rows
        half = len(rows) // 2
        return [*write(rows[:half]), *write(rows[half:])]
    return ()


def _write(rows: Sequence[Row]) -> None:
    adapt = connection.ops.adapt_datetimefield_value
    now = adapt(datetime.now(UTC))
    newest: dict[int, Row] = {}
    for row in rows:
        if row[0] not in newest or row[1].t > newest[row[0]][1].t:
            newest[row[0]] = row
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            _insert(Position, "stored_at", len(rows)) + " ON CONFLICT DO NOTHING",
            [value for row in rows for value in (*_values(row, adapt), now)],
        )
        cursor.execute(
            _insert(LatestPosition, "contact_at", len(newest)) + _LATEST_CONFLICT,
            [
                value
                # In order of pk, so that two processes never lock each other out.
                for _, row in sorted(newest.items())
                for value in (*_values(row, adapt), now)
            ],
        )


_LATEST_CONFLICT = (
    " ON CONFLICT (runner_id) DO UPDATE SET contact_at = excluded.contact_at, "
    + ", ".join(
        f"{column} = CASE WHEN excluded.recorded_at > latest.recorded_at "
        f"THEN excluded.{column} ELSE latest.{column} END"
        for column in COLUMNS[1:]
    )
)


def _insert(model: type[Position] | type[LatestPosition], stamp: str, size: int) -> str:
    """Write an INSERT of many rows: one step for the database, so that this thread
    gives the interpreter back once a statement and not once a row."""
    columns = (*COLUMNS, stamp)
    row = "(" + ", ".join(["%s"] * len(columns)) + ")"
    return (
        f"INSERT INTO {model._meta.db_table} AS latest ({', '.join(columns)}) "  # noqa: S608
        f"VALUES {', '.join([row] * size)}"
    )


def _values(row: Row, adapt: Any) -> Iterable[Any]:
    runner, fix, source = row
    recorded_at = EPOCH + timedelta(milliseconds=fix.t)
    return (
        runner,
        adapt(recorded_at),
        fix.lat,
        fix.lng,
        fix.accuracy,
        fix.altitude,
        fix.speed,
        fix.heading,
        fix.battery,
        source,
    )
