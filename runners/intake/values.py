"""Values as apps write them: numbers or texts, with many spellings of unknown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from runners.positions.fix import Fix
from runners.positions.validation import FixError, fix_from
from runners.units.clock import milliseconds

KNOT_M_PER_S = 1852 / 3600
# Greater numbers are milliseconds: as seconds they would be after 2038.
MILLISECONDS_FROM = 2**31


def number(value: Any) -> float | None:
    """Parse a number; None if it is not a finite number."""
    try:
        if type(value) is float or type(value) is int or type(value) is str:
            read = float(value)
            return read if math.isfinite(read) else None
    except (ValueError, OverflowError):
        pass
    return None


def known(value: Any, scale: float = 1.0) -> float | None:
    """Parse a number for which a negative value means unknown."""
    read = number(value)
    # Round, because unit conversion adds digits without information.
    if read is None or read < 0:
        return None
    return read if scale == 1 else round(read * scale, 6)


def positive(value: Any) -> float | None:
    """Parse a number for which 0 means unknown too, such as an accuracy."""
    return known(value) or None


def time_of(value: Any) -> int | None:
    """Parse a time: seconds or milliseconds since the epoch, or ISO 8601.

    Returns milliseconds since the epoch, None for an empty value; a text without a time
    zone is in UTC. Raises `FixError`.
    """
    if value is None or value == "":
        return None
    read = number(value)
    if read is not None:
        return round(read * 1000 if read < MILLISECONDS_FROM else read)
    try:
        moment = datetime.fromisoformat(str(value).strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return milliseconds(moment)
    except (ValueError, OverflowError):
        raise FixError("position.invalid", "The time cannot be read.") from None


def required_time(value: Any) -> int:
    """Parse a required time; raises `FixError`."""
    t = time_of(value)
    if t is None:
        raise FixError("position.invalid", "The time is missing.")
    return t


def make_fix(
    t: int,
    lat: Any,
    lng: Any,
    *,
    accuracy: float | None,
    altitude: float | None,
    speed: float | None,
    heading: float | None,
    battery: float | None,
) -> Fix:
    """Return a fix of values in SI units and per cent; raises `FixError`."""
    return fix_from(
        {
            "lat": number(lat),
            "lng": number(lng),
            "accuracy": accuracy,
            "altitude": altitude,
            "speed": speed,
            "heading": heading,
            "battery": battery,
        },
        t,
    )


# The names of flat fields that `fix_of_fields` reads, and of calls for help and
# simulated positions.
LAT, LNG = ("lat", "latitude"), ("lon", "lng", "longitude")
TIME = ("timestamp", "time", "t")
ACCURACY, ALTITUDE = ("accuracy", "acc"), ("altitude", "alt")
SPEED, HEADING = ("speed", "s", "spd"), ("bearing", "heading", "course", "dir")
BATTERY = ("batt", "battery", "bat")
KNOWN_NAMES = frozenset(
    (*LAT, *LNG, *TIME, *ACCURACY, *ALTITUDE, *SPEED, *HEADING, *BATTERY)
    + ("location", "alarm", "mock")
)


def first(fields: Mapping[str, Any], *names: str) -> Any:
    """Return the first of these fields that exists and is not empty."""
    for name in names:
        value = fields.get(name)
        if value is not None and value != "":
            return value
    return None


def fix_of_fields(fields: Mapping[str, Any], now: int, speed_unit: float = 1) -> Fix:
    """Parse a fix of flat fields, with the names that apps use; raises `FixError`.

    A missing time is now. `speed_unit` is in metres per second. A battery between 0 and
    1 is a fraction.
    """
    t = time_of(time_field(fields))
    lat, lng = (
        first(fields, *LAT),
        first(fields, *LNG),
    )
    if lat is None and isinstance(location := fields.get("location"), str):
        lat, _, lng = location.partition(",")
    return make_fix(
        now if t is None else t,
        lat,
        lng,
        accuracy=positive(first(fields, *ACCURACY)),
        altitude=number(first(fields, *ALTITUDE)),
        speed=known(first(fields, *SPEED), speed_unit),
        heading=known(first(fields, *HEADING)),
        battery=_battery(first(fields, *BATTERY)),
    )


def _battery(value: Any) -> float | None:
    read = known(value)
    # No phone reports parts of one per cent.
    return read * 100 if read is not None and read < 1 else read


def time_field(fields: Mapping[str, Any]) -> Any:
    """Return the time of flat fields, as the app writes it."""
    return first(fields, *TIME)


def has_position(fields: Mapping[str, Any]) -> bool:
    """Return whether flat fields include a position."""
    return first(fields, *LAT, *LNG) is not None or (
        isinstance(fields.get("location"), str) and fields["location"] != ""
    )
