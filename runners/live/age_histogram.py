"""How old positions are when they are written: a histogram that costs nothing."""

from __future__ import annotations

from bisect import bisect_left

# Upper bounds, and what is above them all. Seconds.
BOUNDS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class AgeHistogram:
    """Counts deliveries by their age, one look at the clock for a whole pass."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        # Of all deliveries. Seconds.
        self.total = 0.0

    def add(self, age: float, deliveries: int) -> None:
        """Count deliveries of about the same age (seconds)."""
        self.counts[bisect_left(BOUNDS, age)] += deliveries
        self.total += age * deliveries
