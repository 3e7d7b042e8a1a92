"""A process without real time, threads or chance: the same input, the same bytes."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime, tzinfo
from typing import Any

import pytest
from django.db import connection

from runners import database
from runners.notifying import subscribing
from runners.positions.rate_limits import Bucket
from runners.positions.recorder import GATHER_S, Recorder
from runners.serving import metrics
from runners.subscriptions import cheering
from runners.views.races import listing
from tests.virtual_time import VirtualTimeLoop
from tests.waiting import PATIENCE_S

# When each world begins.
EPOCH = datetime(2026, 5, 30, 9, 40, tzinfo=UTC)


class FrozenDatetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.fromtimestamp(time.time(), tz)


class FrozenLoop(VirtualTimeLoop):
    """Runs what others run in threads in one thread, and waits for it.

    So no call overlaps another one, and none takes any of the loop's time. The time is
    in whole microseconds: sums of waits would depend on how often anybody has waited.
    """

    def __init__(self) -> None:
        super().__init__()
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="frozen")

    def time(self) -> float:
        return round(super().time(), 6)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        done = self.worker.submit(function, *args)
        # A call that waits for this loop, such as one of `async_to_sync`, never ends.
        if error := done.exception(PATIENCE_S):
            future.set_exception(error)
        else:
            future.set_result(done.result())
        return future

    def close(self) -> None:
        self.worker.submit(_close_connection).result()
        self.worker.shutdown()
        super().close()


def _close_connection() -> None:
    connection.close()


class Chance:
    """Replaces the operating system's random numbers."""

    def __init__(self) -> None:
        self._dice = random.Random()

    def seed(self, name: str) -> None:
        """Start a new sequence, so that an earlier draw does not change later ones."""
        self._dice.seed(name)
        random.seed(name)

    def draw(self, count: int) -> bytes:
        return self._dice.randbytes(count)


def freeze(patch: pytest.MonkeyPatch, loop: FrozenLoop, uptime_s: float) -> Chance:
    """Replace all clocks by the loop's, and all chance.

    `uptime_s` is where the monotonic clock begins. Caches that have it in their keys
    would give one world the results of another one at the same time.
    """

    def wall() -> float:
        return EPOCH.timestamp() + loop.time()

    def monotonic() -> float:
        return uptime_s + loop.time()

    patch.setattr(time, "time", wall)
    patch.setattr(time, "time_ns", lambda: round(wall() * 1000) * 1_000_000)
    for name in ("monotonic", "perf_counter", "process_time"):
        patch.setattr(time, name, monotonic)
    for module in ("django.utils.timezone", "runners.positions.storage"):
        patch.setattr(f"{module}.datetime", FrozenDatetime)
    patch.setattr(metrics, "resident_bytes", lambda: 0)
    _forget_times(patch)
    chance = Chance()
    patch.setattr(random, "_urandom", chance.draw)
    patch.setattr(os, "urandom", chance.draw)
    return chance


def _forget_times(patch: pytest.MonkeyPatch) -> None:
    """Replace what the process keeps with times of the monotonic clock."""
    patch.setattr(
        subscribing,
        "_new",
        Bucket(subscribing.NEW_BROWSERS_PER_S, subscribing.NEW_BURST),
    )
    for limits in (cheering.cheers_for, cheering.cheers_of_sender):
        patch.setattr(limits, "_buckets", {})
    patch.setattr(listing, "_fields", {})
    for pool in (
        *(database._pool, database._work_pool),
        *(database._rights_pool, database._snapshot_pool, database._standings_pool),
    ):
        patch.setattr(pool, "answered_at", 0.0)


class _StoreSoon:
    """Has the loop store queued rows, instead of waking the recorder's thread."""

    def __init__(self, recorder: Recorder, loop: FrozenLoop) -> None:
        self._recorder = recorder
        self._loop = loop
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            self._loop.call_later(GATHER_S, self._store)

    def _store(self) -> None:
        self._is_set = False
        while self._recorder._queued:
            batch = self._recorder._next_batch()
            self._loop.run_in_executor(None, self._recorder._store, batch)


def store_without_thread(
    patch: pytest.MonkeyPatch, recorder: Recorder, loop: FrozenLoop
) -> None:
    patch.setattr(recorder, "_start", lambda: None)
    patch.setattr(recorder, "_wake", _StoreSoon(recorder, loop))
