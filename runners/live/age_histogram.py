"""A histogram of how old positions are when they are written to a socket."""

from __future__ import annotations

from bisect import bisect_left

# Upper bounds of the buckets. One more bucket counts greater ages.
AGE_BOUNDS_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class AgeHistogram:
    """Counts deliveries by age; the clock is read once per pass."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(AGE_BOUNDS_S) + 1)
        # The sum of all ages, in seconds.
        self.total = 0.0

    def add(self, age: float, deliveries: int) -> None:
        """Count deliveries of about the same age (seconds)."""
        self.counts[bisect_left(AGE_BOUNDS_S, age)] += deliveries
        self.total += age * deliveries
