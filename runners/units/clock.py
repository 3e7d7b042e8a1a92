"""Times in milliseconds since the epoch, as clients and phones use them."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Return the server's clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def milliseconds(moment: datetime) -> int:
    """Return a moment as milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


def moment_of(t: float) -> datetime:
    """Return milliseconds since the epoch as a moment."""
    return datetime.fromtimestamp(t / 1000, UTC)
