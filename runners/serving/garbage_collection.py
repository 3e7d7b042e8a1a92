"""When Python looks for reference cycles among all objects.

By itself it does so again and again while a crowd comes, and now and then later: at
15,000 sockets that is half a second in which nobody gets anything. Young objects are
looked at less often too: a position leaves none behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from pathlib import Path

# The part of the time that it may take, and seconds between two times at least.
SHARE, LEAST = 1 / 200, 10.0
# Earlier when memory has grown by so many bytes: it may be cycles of those who left.
GROWTH = 64 * 2**20
# Between looks at the memory.
STEP_S = 1.0
# New objects before Python looks at these, and collections of these before it looks at
# those that were left.
YOUNG, OLDER = 10_000, 10
# Collections of the younger ones before Python would look at all by itself.
NEVER = 1_000_000


def resident_bytes() -> int:
    """Return the memory that this process has of the machine's."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class FullCollections:
    """Has one process look at all objects, the less often the longer that takes."""

    def __init__(
        self, share: float = SHARE, least: float = LEAST, growth: float = GROWTH
    ) -> None:
        self.share, self.least, self.growth = share, least, growth
        self._before = gc.get_threshold()
        gc.collect()
        # What the start has made stays, and need not be looked at.
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
        """Leave it to Python again."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        gc.set_threshold(*self._before)
        gc.unfreeze()
