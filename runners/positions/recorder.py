"""Writes accepted fixes in batches, outside the event loop.

One thread with its own connection. The future returned by `record` is done after the
commit of its fixes. While the database is unavailable the batch is retried; beyond
`CAPACITY` rows, new ones are refused and counted.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db import connection

from runners.database import prepare_connection
from runners.positions.storage import BATCH, Change, Row, write_rows

logger = logging.getLogger(__name__)

# How long fixes are collected before a commit, if somebody waits for an ack.
GATHER_S = 0.05
# The same for fixes without an ack. A commit writes two index pages per runner, however
# few fixes of the runner it has.
GATHER_UNACKED_S = 0.25
# After a commit of a single message the wait is this many times as long as that commit,
# because a phone that sends one message at a time waits for each ack. The factor keeps
# commits a small part of the work.
GATHER_COMMITS = 10
# Limit of queued rows, some tens of megabytes.
CAPACITY = 100_000
# Time between attempts while the database is unavailable.
RETRY_S = 0.5
# A commit this long after its fixes were accepted is late: clients that have followed
# meanwhile have read the database without these fixes.
LATE_S = 1.0


class RecorderFull(Exception):
    """More fixes are queued than may be kept in memory."""


class Work(NamedTuple):
    """Rows that were accepted together, their future, and when they were accepted."""

    rows: Sequence[Row]
    changes: Sequence[Change]
    waiter: asyncio.Future[int] | None
    at: float


class Recorder:
    """The only writer of positions in a process."""

    def __init__(self) -> None:
        self.stored = 0
        # Fixes that will never be stored, by reason.
        self.not_stored: Counter[str] = Counter()
        # The duration of the last commit, in seconds.
        self.commit_seconds = 0.0
        # Called in the recorder's thread with a time (ms). Rows stored since then were
        # late and are now all committed.
        self.on_late_commit: Callable[[int], object] = _nothing
        self._late_since: int | None = None
        # The start of the latest attempt to commit, in milliseconds.
        self._tried_at = 0
        self._queued: deque[Work] = deque()
        self._waiting = 0
        # The time when the oldest queued row was queued, or None.
        self._waiting_since: float | None = None
        self._wake = threading.Event()
        # Set while somebody waits for a commit.
        self._awaited = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Count the rows that are not committed yet."""
        return self._waiting

    @property
    def oldest(self) -> float:
        """Return for how long the oldest row has been queued. Seconds."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    def record(
        self,
        rows: Sequence[Row],
        changes: Sequence[Change] = (),
        accepted_at: float | None = None,
    ) -> asyncio.Future[int]:
        """Queue rows; the future is done when they are committed.

        `accepted_at` is a monotonic time before their events were sent, by default now.
        The result is the number of rows that the database refused because their runner
        was deleted. Raises `RecorderFull` without queueing any row.
        """
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue(Work(rows, changes, waiter, accepted_at or time.monotonic()))
        return waiter

    def record_unacked(
        self,
        rows: Sequence[Row],
        changes: Sequence[Change] = (),
        accepted_at: float | None = None,
    ) -> None:
        """Queue rows without an ack; rows that do not fit are only counted."""
        try:
            self._queue(Work(rows, changes, None, accepted_at or time.monotonic()))
        except RecorderFull:
            self.not_stored["full"] += len(rows)

    async def flushed(self) -> None:
        """Wait until the rows queued so far are committed or refused."""
        if self._waiting:
            waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._queued.append(Work((), (), waiter, time.monotonic()))
            self._awaited.set()
            self._wake.set()
            await waiter

    def _queue(self, work: Work) -> None:
        if self._waiting + len(work.rows) > CAPACITY:
            raise RecorderFull
        with self._lock:
            self._queued.append(work)
            self._waiting += len(work.rows)
            if self._waiting_since is None:
                self._waiting_since = work.at
        if self._thread is None:
            self._start()
        if work.waiter is not None and not self._awaited.is_set():
            self._awaited.set()
        if not self._wake.is_set():
            self._wake.set()

    def _start(self) -> None:
        self._stopping = False
        # Needed by servers without a lifespan, such as Daphne.
        atexit.register(self.stop)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Store the queued rows, then end the thread. Blocks."""
        thread = self._thread
        if thread is not None:
            self._stopping = True
            self._awaited.set()
            self._wake.set()
            thread.join(timeout)
            self._thread = None
            atexit.unregister(self.stop)

    # -- in the thread

    def _run(self) -> None:
        alone = True
        while not (self._stopping and not self._queued):
            self._wake.wait()
            if self._awaited.wait(GATHER_UNACKED_S) and not self._stopping:
                brief = GATHER_COMMITS * self.commit_seconds if alone else GATHER_S
                time.sleep(min(GATHER_S, brief))
            self._wake.clear()
            self._awaited.clear()
            alone = len(self._queued) <= 1
            while self._queued:
                self._store(self._next_batch())
        connection.close()

    def _next_batch(self) -> list[Work]:
        batch: list[Work] = []
        size = 0
        while self._queued and (not batch or size + len(self._queued[0].rows) <= BATCH):
            batch.append(self._queued.popleft())
            size += len(batch[-1].rows)
        return batch

    def _store(self, batch: list[Work]) -> None:
        rows = [row for work in batch for row in work.rows]
        changes = [change for work in batch for change in work.changes]
        lost: Sequence[Row] | None = ()
        if rows or changes:
            try:
                lost = self._store_rows(rows, changes)
            except Exception:
                # Any error in these rows must not end the thread.
                logger.exception(
                    "A batch of positions could not be stored and is dropped"
                )
                self.not_stored["failed"] += len(rows)
                lost = None
        stored = lost is not None
        lost = lost or ()
        self.stored += len(rows) - len(lost) if stored else 0
        late = time.monotonic() - min(work.at for work in batch) > LATE_S
        with self._lock:
            self._waiting -= len(rows)
            self._waiting_since = self._queued[0].at if self._queued else None
        self._record_late(late)
        lost_ids = {id(row) for row in lost}
        done: dict[
            asyncio.AbstractEventLoop, list[tuple[asyncio.Future[int], int]]
        ] = {}
        for work in batch:
            # Rows that are not stored get no ack, and their sender repeats them.
            if work.waiter is not None and (stored or not work.rows):
                count = sum(id(row) in lost_ids for row in work.rows) if lost else 0
                loop = work.waiter.get_loop()
                done.setdefault(loop, []).append((work.waiter, count))
        for loop, waiters in done.items():
            # If the loop is closed, nobody waits for the result.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_finish, waiters)

    def _record_late(self, late: bool) -> None:
        """Report late commits once no more of them follow."""
        if late and self._late_since is None:
            self._late_since = self._tried_at
        if self._late_since is not None and self.oldest < LATE_S:
            since, self._late_since = self._late_since, None
            self.on_late_commit(since)

    def _store_rows(
        self, rows: Sequence[Row], changes: Sequence[Change]
    ) -> Sequence[Row] | None:
        """Write rows, with retries, and return the rows that the database refuses.

        Returns None if the process stops before the database is available.
        """
        while True:
            started = time.perf_counter()
            self._tried_at = time.time_ns() // 1_000_000
            try:
                prepare_connection()
                lost = write_rows(rows, changes)
            except DatabaseError as error:
                logger.warning(
                    "Positions are queued, as the database failed; trying again: %s",
                    error,
                )
                connection.close()
                if self._stopping:
                    self.not_stored["stopped"] += len(rows)
                    return None
                time.sleep(RETRY_S)
            else:
                self.commit_seconds = time.perf_counter() - started
                if lost:
                    self.not_stored["refused"] += len(lost)
                return lost


def _nothing(since: int) -> None:
    pass


def _finish(waiters: list[tuple[asyncio.Future[int], int]]) -> None:
    for waiter, lost in waiters:
        if not waiter.done():
            waiter.set_result(lost)
