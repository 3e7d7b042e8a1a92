"""Schedules Python's full garbage collections.

Python's default would run them repeatedly while a crowd connects, and later from time
to time. At 15,000 sockets, one stops the event loop for half a second. Collections of
young objects are made rarer too, because positions leave no reference cycles.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from pathlib import Path

# The greatest share of time for full collections, and the least time between two.
SHARE = 1 / 1000
MIN_INTERVAL_S = 10.0
# Memory growth that causes an earlier collection, because it may be cycles of closed
# connections.
GROWTH_BYTES = 64 * 2**20
# Time between checks of the memory.
STEP_S = 1.0
# New objects before a collection of generation 0, and collections of generation 0
# before one of generation 1.
YOUNG = 10_000
OLDER = 10
# Collections of generation 1 before Python runs a full one on its own.
NEVER = 1_000_000


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class FullCollections:
    """Runs full collections. The longer they take, the rarer they are."""

    def __init__(
        self,
        share: float = SHARE,
        least: float = MIN_INTERVAL_S,
        growth: float = GROWTH_BYTES,
    ) -> None:
        self.share, self.least, self.growth = share, least, growth
        self._before = gc.get_threshold()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Replace Python's schedule from now on."""
        gc.collect()
        # Objects created during the start are permanent and need no collection.
        gc.freeze()
        gc.set_threshold(YOUNG, OLDER, NEVER)
        self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        due = most = 0.0
        while True:
            if time.monotonic() >= due or resident_bytes() > most:
                start = time.monotonic()
                gc.collect()
                end = time.monotonic()
                due = end + max(self.least, (end - start) / self.share)
                most = resident_bytes() + self.growth
            await asyncio.sleep(min(self.least, STEP_S))

    async def close(self) -> None:
        """Restore Python's default schedule."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        gc.set_threshold(*self._before)
        gc.unfreeze()
