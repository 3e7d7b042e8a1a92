"""Rate limits, as token buckets."""

from __future__ import annotations

import time
from collections.abc import Hashable


class Bucket:
    """Fills by `rate` per second up to `burst`; each fix or action takes one."""

    __slots__ = ("burst", "filled_at", "level", "rate")

    def __init__(self, rate: float, burst: float, level: float | None = None) -> None:
        self.rate = rate
        self.burst = burst
        self.level = burst if level is None else level
        self.filled_at = time.monotonic()

    def take(self, fixes: int) -> float:
        """Take `count` and return 0, or take none and return the seconds to wait.

        A count greater than the burst passes when the bucket is full, because waiting
        would never suffice.
        """
        self._fill()
        wanted = min(float(fixes), self.burst)
        if wanted <= self.level:
            self.level -= wanted
            return 0.0
        return (wanted - self.level) / self.rate

    def refund(self, fixes: int) -> None:
        """Put back what was taken for fixes that could not be stored."""
        self.level = min(self.burst, self.level + fixes)

    def drain(self, count: int) -> None:
        """Take a count, or all that is left if that is less."""
        self.level = max(0.0, self.left - count)

    @property
    def left(self) -> float:
        self._fill()
        return self.level

    @property
    def full(self) -> bool:
        return self.left >= self.burst

    def _fill(self) -> None:
        now = time.monotonic()
        self.level = min(self.burst, self.level + (now - self.filled_at) * self.rate)
        self.filled_at = now


class Limits:
    """A bucket for each key that was used recently."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._buckets: dict[Hashable, Bucket] = {}
        self._sweep_at = 1_000

    def of(self, key: Hashable) -> Bucket:
        """Return the key's bucket, the same one while it is not full."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._sweep_at:
                self._sweep()
            bucket = self._buckets[key] = Bucket(self.rate, self.burst)
        return bucket

    def _sweep(self) -> None:
        # A full bucket equals a new one.
        for key in [key for key, bucket in self._buckets.items() if bucket.full]:
            del self._buckets[key]
        self._sweep_at = max(1_000, 2 * len(self._buckets))
