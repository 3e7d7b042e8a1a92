"""A fix: a position at one moment."""

from __future__ import annotations

from typing import NamedTuple


class Fix(NamedTuple):
    """A position at one moment.

    `t` is in milliseconds since the epoch, `lat`, `lng` and `heading` in degrees,
    `accuracy` and `altitude` in metres, `speed` in m/s, `battery` in per cent. Values
    that the phone did not send are None.
    """

    t: int
    lat: float
    lng: float
    accuracy: float | None = None
    altitude: float | None = None
    speed: float | None = None
    heading: float | None = None
    battery: float | None = None
