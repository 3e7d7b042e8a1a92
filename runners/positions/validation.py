"""Parses fixes and checks whether they are plausible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import ValidationError, convert

from runners.live.encoding.fields import invalid_field
from runners.positions.fix import Fix
from runners.units.errors import CodedError

# How far a phone's clock may be ahead of the server's.
CLOCK_TOLERANCE_MS = 60_000
# 2000-01-01. No phone tracked before it, so smaller times are in seconds.
EARLIEST_MS = 946_684_800_000
_DETAILS = {
    "t": "`t` is in milliseconds since the epoch.",
    "lat": "lat must be a number from -90 to 90 degrees.",
    "lng": "lng must be a number from -180 to 180 degrees.",
}


class FixError(CodedError):
    """A fix that is refused."""


_WRONG_LAT = FixError("position.invalid", _DETAILS["lat"])
_WRONG_LNG = FixError("position.invalid", _DETAILS["lng"])


def fix_from(message: Mapping[str, Any], t: int) -> Fix:
    """Parse a fix with a given time; raises `FixError` as `read_fix` does."""
    return read_fix({**message, "t": t})


def place_error(lat: float, lng: float) -> FixError | None:
    """Return why a latitude and longitude are invalid, as `read_fix` would raise."""
    if -90 <= lat <= 90 and -180 <= lng <= 180:
        return None
    return _WRONG_LNG if -90 <= lat <= 90 else _WRONG_LAT


def read_fix(message: dict[str, Any]) -> Fix:
    """Parse a fix of either dialect.

    An invalid optional value becomes None, so that the position is not lost. Raises
    `FixError` for an invalid position.
    """
    try:
        return convert(message, Fix)
    except ValidationError as error:
        field = invalid_field(error)
    if field in _DETAILS:
        raise FixError("position.invalid", _DETAILS[field])
    return read_fix({**message, field: None})


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
