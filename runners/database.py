"""Runs database work of async code in a few threads, with a time-out.

Django's thread-sensitive thread is not used, as one slow query in it delays every
socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, ParamSpec, TypeVar

from django.db import Error as DatabaseError
from django.db import connection

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

THREADS = 4
# Results that `RecentReads` keeps at most.
RECENT_KEPT = 100
# How long a call may take in its thread. A queued call fails when no call has returned
# for this long.
TIMEOUT_S = 5.0


class Pool(ThreadPoolExecutor):
    """A thread pool that records when a call last returned."""

    answered_at = 0.0
    timeout = TIMEOUT_S


class Call(Generic[T]):
    """A call that waits for a thread of a pool, then runs in it."""

    def __init__(self, pool: Pool, function: Callable[[], T]) -> None:
        self.pool = pool
        self.function = function
        self.requested_at = time.monotonic()
        self.started_at: float | None = None

    def __call__(self) -> T:
        self.started_at = time.monotonic()
        prepare_connection()
        try:
            # Closing a cursor of PostgreSQL raises errors of the driver.
            with connection.wrap_database_errors:
                return self.function()
        except DatabaseError:
            connection.close()
            raise
        finally:
            self.pool.answered_at = time.monotonic()

    @property
    def patience(self) -> float:
        """Return the seconds that the call may still take.

        In a crowd a call may have to wait for a thread; while other calls return, the
        database is available.
        """
        since = self.started_at or max(self.requested_at, self.pool.answered_at)
        return since + self.pool.timeout - time.monotonic()


_pool = Pool(THREADS, thread_name_prefix="database")
# The thread for long queries, one at a time.
_work_pool = Pool(1, thread_name_prefix="work")
_work_pool.timeout = 60.0
# Reserved for rights, which must be checked under any load.
_rights_pool = Pool(1, thread_name_prefix="rights")
# The thread for the snapshots of topics. One of a marathon takes half a second of CPU,
# which is more than TIMEOUT_S by the clock on a machine that is busy; a client that
# asked again after an error would never get one.
_snapshot_pool = Pool(1, thread_name_prefix="snapshots")
_snapshot_pool.timeout = 60.0
# The thread for standings. Those of a marathon take two seconds of CPU, which is more
# than a read may by the clock on a busy machine. One request computes them, and those
# that wait for the thread meanwhile share them. They do not wait for long work.
_standings_pool = Pool(1, thread_name_prefix="standings")
_standings_pool.timeout = 60.0


class DatabaseUnavailable(Exception):
    """The database failed or did not reply in time."""


async def read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that uses the ORM; raises `DatabaseUnavailable`.

    Small writes are allowed (such as creating a runner in open mode); positions go
    through the recorder.
    """
    return await _call(_pool, partial(function, *args, **kwargs))


async def read_rights(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function like `read`, in the thread that is reserved for rights."""
    return await _call(_rights_pool, partial(function, *args, **kwargs))


async def work(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that may take longer, in the thread for long work."""
    return await _call(_work_pool, partial(function, *args, **kwargs))


async def read_snapshot(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function like `read`, in the thread for the snapshots of topics."""
    return await _call(_snapshot_pool, partial(function, *args, **kwargs))


async def read_standings(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function like `read`, in the thread for standings."""
    return await _call(_standings_pool, partial(function, *args, **kwargs))


async def _call(pool: Pool, function: Callable[[], T]) -> T:
    call = Call(pool, function)
    future = asyncio.get_running_loop().run_in_executor(pool, call)
    try:
        while not future.done() and (patience := call.patience) > 0:
            await asyncio.wait([future], timeout=patience)
        if not future.done():
            raise TimeoutError(f"no answer in {pool.timeout:.0f} s")
        return future.result()
    except (DatabaseError, TimeoutError) as error:
        logger.warning("A database call failed or timed out: %r", error)
        raise DatabaseUnavailable(str(error)) from error
    finally:
        future.cancel()


class Batch(Generic[K, V]):
    """Keys that are read by the same call."""

    def __init__(self) -> None:
        self.keys: dict[K, None] = {}
        self.load = 0
        self.answer: asyncio.Future[Mapping[K, V]] = asyncio.Future()


class CoalescedReads(Generic[K, V]):
    """Combines concurrent reads into few calls.

    There is one call at a time. Keys that are requested during a call are read by the
    next one, so that no result is older than its request.
    """

    def __init__(
        self,
        function: Callable[[Sequence[K]], Mapping[K, V]],
        most: int,
        *,
        every_s: float = 0.0,
        load: Callable[[K], int] = lambda key: 1,
    ) -> None:
        self._function = function
        # Limit of the keys of one call by their load, which the last may exceed.
        self._most = most
        self._load = load
        # The least time between two calls while one is enough for all that wait.
        self._every_s = every_s
        self._next_at = 0.0
        self._waiting: deque[Batch[K, V]] = deque()
        self._reader: asyncio.Task[None] | None = None

    async def read(self, keys: Iterable[K]) -> Mapping[K, V]:
        """Return the result of a call with these keys and others; raises
        `DatabaseUnavailable`.
        """
        if not self._waiting or self._waiting[-1].load >= self._most:
            self._waiting.append(Batch())
        batch = self._waiting[-1]
        new = [key for key in dict.fromkeys(keys) if key not in batch.keys]
        batch.keys.update(dict.fromkeys(new))
        batch.load += sum(map(self._load, new))
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        return await asyncio.shield(batch.answer)

    async def _read(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) == 1:
                    await asyncio.sleep(self._next_at - time.monotonic())
                self._next_at = time.monotonic() + self._every_s
                batch = self._waiting.popleft()
                try:
                    found = await read(self._function, list(batch.keys))
                except Exception as error:
                    batch.answer.set_exception(error)
                    # Avoids asyncio's warning if no caller is left to retrieve it.
                    with contextlib.suppress(Exception):
                        batch.answer.result()
                else:
                    batch.answer.set_result(found)
        finally:
            self._reader = None


class RecentReads(Generic[K, V]):
    """Shares the result of a read with the callers of a short time after it."""

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._reads: dict[K, tuple[asyncio.Task[V], float]] = {}

    async def read(self, key: K, function: Callable[[], V]) -> V:
        """Return the result of a call of at most this age, or of a new one.

        Raises `DatabaseUnavailable`; a read that failed is not shared afterwards.
        """
        now = time.monotonic()
        task, read_at = self._reads.get(key, (None, 0.0))
        if task is None or now - read_at > self._max_age_s or _has_failed(task):
            if len(self._reads) >= RECENT_KEPT:
                self._reads.clear()
            task = asyncio.create_task(read(function))
            self._reads[key] = task, now
        return await asyncio.shield(task)

    def clear(self) -> None:
        """Share none of the results so far."""
        self._reads.clear()


def _has_failed(task: asyncio.Task[V]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def prepare_connection() -> None:
    """Prepare this thread's connection for use outside of requests."""
    # CONN_MAX_AGE is meant for requests, whose threads may never be used again. These
    # threads stay, and opening a connection costs more than most queries.
    connection.close_at = None
    connection.health_check_enabled = True  # type: ignore[attr-defined]
    connection.close_if_unusable_or_obsolete()
    # With DEBUG, Django formats each statement with its values and keeps the last 9,000
    # until a request ends.
    connection.make_debug_cursor = connection.make_cursor  # type: ignore[assignment, method-assign]


def close_connections() -> None:
    """Close the threads' connections, so that a test database can be deleted."""
    barrier = [_pool.submit(_close_one) for _ in range(THREADS * 4)]
    pools = (_rights_pool, _work_pool, _snapshot_pool, _standings_pool)
    barrier += [pool.submit(_close_one) for pool in pools]
    for done in barrier:
        done.result()


def _close_one() -> None:
    connection.close()
