"""Decides when followers are notified of a phone's battery and accuracy.

They are sent only when they change, because they would be most of the bytes of a
position.
"""

from __future__ import annotations

from runners.positions.fix import Fix

# The battery is low below the first, until it reaches the second.
LOW_BATTERY_PERCENT = 20
CHARGED_BATTERY_PERCENT = 25
# A position is drawn with a ring above the first, until its accuracy is below the
# second.
RING_FROM_M = 20
RING_UNTIL_M = 16
# A ring is sent again when it is this many times larger or smaller.
RESIZED = 1.5
# The least time between two notifications.
EVERY_MS = 30_000


class PhoneStatus:
    """The battery and accuracy that this process has sent of a runner's phone."""

    __slots__ = ("is_low", "ring", "t")

    def __init__(self) -> None:
        self.is_low = False
        # The accuracy for which a ring was sent, in metres, or 0.
        self.ring = 0.0
        self.t = -EVERY_MS

    def is_news(self, fix: Fix) -> bool:
        """Return whether to notify followers of a phone's state, and record it."""
        limit = CHARGED_BATTERY_PERCENT if self.is_low else LOW_BATTERY_PERCENT
        is_low = fix.battery is not None and fix.battery < limit
        ring = fix.accuracy or 0.0
        if is_low == self.is_low and not self._is_other(ring):
            return False
        if fix.t - self.t < EVERY_MS:
            return False
        self.is_low, self.ring, self.t = is_low, ring, fix.t
        return True

    def _is_other(self, ring: float) -> bool:
        if self.ring <= RING_FROM_M:
            return ring > RING_FROM_M
        return (
            ring < RING_UNTIL_M or not self.ring / RESIZED < ring < self.ring * RESIZED
        )
