"""When Python looks for reference cycles among all objects.

By itself it does so again and again while a crowd comes, and now and then later: at
15,000 sockets that is half a second in which nobody gets anything. Young objects are
looked at as ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time

# What takes longest may take this part of the time. Between two times at least so many
# seconds.
SHARE, LEAST = 1 / 200, 10.0
# Collections of the younger ones before Python would look at all by itself.
NEVER = 1_000_000


class FullCollections:
    """Has one process look at all objects, the less often the longer that takes."""

    def __init__(self, share: float = SHARE, least: float = LEAST) -> None:
        self.share, self.least = share, least
        self._before = gc.get_threshold()
        gc.collect()
        # What the start has made stays, and need not be looked at.
        gc.freeze()
        gc.set_threshold(*self._before[:2], NEVER)
        self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        took = 0.0
        while True:
            await asyncio.sleep(max(self.least, took / self.share))
            start = time.perf_counter()
            gc.collect()
            took = time.perf_counter() - start

    async def close(self) -> None:
        """Leave it to Python again."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        gc.set_threshold(*self._before)
        gc.unfreeze()
