"""Parses fixes and checks whether they are plausible."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from runners.positions.fix import Fix

# How far a phone's clock may be ahead of the server's.
CLOCK_TOLERANCE_MS = 60_000
# 2000-01-01. No phone tracked before it, so smaller times are in seconds.
EARLIEST_MS = 946_684_800_000
# The optional fields of a fix with their limits.
_OPTIONAL = (
    ("accuracy", 0, 1e7),
    ("altitude", -1e5, 1e5),
    ("speed", 0, 1e4),
    ("heading", 0, 360),
    ("battery", 0, 100),
)


class FixError(ValueError):
    """A fix that is refused; `code` is stable and dotted."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def fix_from(message: Mapping[str, Any], t: int) -> Fix:
    """Parse a fix of either dialect with a given time.

    An invalid optional value becomes None, so that the position is not lost. Raises
    `FixError` for an invalid position.
    """
    lat, lng = _degrees(message, "lat", 90), _degrees(message, "lng", 180)
    optional = [
        _within(message[key], least, most) if key in message else None
        for key, least, most in _OPTIONAL
    ]
    return Fix(t, lat, lng, *optional)


def check_fix(fix: Fix, now: int) -> None:
    """Refuse an impossible fix. Raises `FixError`. `now` is in milliseconds."""
    if fix.lat == 0 and fix.lng == 0:
        raise FixError(
            "position.invalid",
            "0, 0 is not a position: phones send it before they have one.",
        )
    if fix.t > now + CLOCK_TOLERANCE_MS:
        raise FixError(
            "position.future",
            f"The time is {(fix.t - now) // 1000} s ahead of the server's clock.",
        )
    if fix.t < EARLIEST_MS:
        raise FixError(
            "position.invalid",
            "The time is before the year 2000; send milliseconds since the epoch.",
        )


def _degrees(message: Mapping[str, Any], key: str, most: int) -> float:
    value = message.get(key)
    if type(value) is float or type(value) is int:
        # Also false for NaN and infinities.
        if -most <= value <= most:
            return value
        raise FixError(
            "position.invalid", f"{key} must be from -{most} to {most} degrees."
        )
    raise FixError("position.invalid", f"{key} must be a number of degrees.")


def _within(value: Any, least: float, most: float) -> float | None:
    if (type(value) is float or type(value) is int) and least <= value <= most:
        return value if math.isfinite(value) else None
    return None
