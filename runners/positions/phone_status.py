"""What followers are told of a runner's phone: that it is nearly empty, or unsure.

Not with every position, where it would be most of the bytes: when it is news.
"""

from __future__ import annotations

from runners.positions.fix import Fix

# A battery below the first is low, and from the second on no longer. Per cent.
LOW, CHARGED = 20, 25
# A place worse than the first is drawn with a ring, and from the second on without.
# Metres.
UNSURE, SURE = 20, 16
# A ring that is so many times larger or smaller is another.
RESIZED = 1.5
# The least time from one word to the next.
EVERY_MS = 30_000


class PhoneStatus:
    """What this process has told of a runner's phone."""

    __slots__ = ("is_low", "ring", "t")

    def __init__(self) -> None:
        self.is_low = False
        # The accuracy that a ring was told for; 0: none. Metres.
        self.ring = 0.0
        self.t = -EVERY_MS

    def is_news(self, fix: Fix) -> bool:
        """Tell whether followers should hear of a fix's phone; then they have."""
        limit = CHARGED if self.is_low else LOW
        is_low = fix.battery is not None and fix.battery < limit
        ring = fix.accuracy or 0.0
        if is_low == self.is_low and not self._is_other(ring):
            return False
        if fix.t - self.t < EVERY_MS:
            return False
        self.is_low, self.ring, self.t = is_low, ring, fix.t
        return True

    def _is_other(self, ring: float) -> bool:
        if self.ring <= UNSURE:
            return ring > UNSURE
        return ring < SURE or not self.ring / RESIZED < ring < self.ring * RESIZED
