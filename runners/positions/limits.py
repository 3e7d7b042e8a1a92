"""How fast one token may publish, whichever door it uses."""

from __future__ import annotations

import time

from django.conf import settings


class Bucket:
    """Fills at `rate` a second up to `burst`; publishing a fix takes one."""

    __slots__ = ("burst", "filled_at", "level", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self.level = burst
        self.filled_at = time.monotonic()

    def take(self, fixes: int) -> float:
        """Take that many and return 0, or take none and return the seconds to wait.

        More than a full bucket holds is let through when it is full: nobody could
        ever wait long enough.
        """
        self._fill()
        wanted = min(float(fixes), self.burst)
        if wanted <= self.level:
            self.level -= wanted
            return 0.0
        return (wanted - self.level) / self.rate

    def give_back(self, fixes: int) -> None:
        """Return what was taken for fixes that then could not be kept."""
        self.level = min(self.burst, self.level + fixes)

    @property
    def full(self) -> bool:
        self._fill()
        return self.level >= self.burst

    def _fill(self) -> None:
        now = time.monotonic()
        self.level = min(self.burst, self.level + (now - self.filled_at) * self.rate)
        self.filled_at = now


class PublishLimits:
    """A bucket for each token (by primary key) that published lately."""

    def __init__(self) -> None:
        self.rate = float(settings.SPECTATE_PUBLISH_RATE)
        self.burst = float(settings.SPECTATE_PUBLISH_BURST)
        self._buckets: dict[int, Bucket] = {}
        self._sweep_at = 1_000

    def of(self, token: int) -> Bucket:
        """Return the token's bucket, the same for its sockets and its requests."""
        bucket = self._buckets.get(token)
        if bucket is None:
            if len(self._buckets) >= self._sweep_at:
                self._sweep()
            bucket = self._buckets[token] = Bucket(self.rate, self.burst)
        return bucket

    def _sweep(self) -> None:
        # A full bucket says no more than none.
        for token in [t for t, bucket in self._buckets.items() if bucket.full]:
            del self._buckets[token]
        self._sweep_at = max(1_000, 2 * len(self._buckets))


_limits: PublishLimits | None = None


def get_publish_limits() -> PublishLimits:
    """Return the process's limits."""
    global _limits
    if _limits is None:
        _limits = PublishLimits()
    return _limits
