"""Delays the answers to wrong secrets: tokens, share links and PINs."""

from __future__ import annotations

import asyncio
import hashlib
import time

# Failures of a name are forgotten after this time without a further one.
FORGET_AFTER_S = 900.0
MAX_NAMES = 10_000
# Bounds the exponent, because a count has no bound.
MAX_DOUBLINGS = 10


class Failures:
    """Recent failures by name; the oldest are discarded at the limit.

    The delay doubles with each further failure of a name, up to the longest.
    """

    def __init__(self, first_wait_s: float, longest_wait_s: float) -> None:
        self.first_wait_s = first_wait_s
        self.longest_wait_s = longest_wait_s
        # Counts and times of the last failures, ordered by time.
        self._kept: dict[bytes, tuple[int, float]] = {}

    def add(self, name: str) -> float:
        """Count a failure; return the delay of its answer in seconds."""
        now = time.monotonic()
        # Hashed to a fixed size, because names may be long.
        key = hashlib.sha256(name.casefold().encode()).digest()
        count, last = self._kept.pop(key, (0, now))
        if now - last > FORGET_AFTER_S:
            count = 0
        self._kept[key] = (count + 1, now)
        while len(self._kept) > MAX_NAMES:
            del self._kept[next(iter(self._kept))]
        doubled: float = self.first_wait_s * 2 ** min(count, MAX_DOUBLINGS)
        return min(doubled, self.longest_wait_s)

    async def delay(self, name: str) -> None:
        """Count a failure and wait, before it is answered.

        Right secrets of the same name are not delayed.
        """
        await asyncio.sleep(self.add(name))

    def clear(self) -> None:
        """Discard all failures."""
        self._kept.clear()
