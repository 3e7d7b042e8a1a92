"""Rows of numbers, as clients read them from sockets and by HTTP."""

from __future__ import annotations

# Time, latitude, longitude, speed, heading and progress.
FixRow = tuple[int, float, float, float | None, int | None, int | None]

# Seconds since the last mat, and the middle, near and far end of the progress.
EstimateNode = tuple[int, int, int, int]


def fix_row(
    t: int,
    lat: float,
    lng: float,
    speed: float | None,
    heading: float | None,
    progress: float | None = None,
) -> FixRow:
    """Return a fix as a row. Coordinates have five decimals, which is a metre."""
    return (
        t,
        round(lat, 5),
        round(lng, 5),
        None if speed is None else round(speed, 2),
        None if heading is None else round(heading) % 360,
        None if progress is None else round(progress),
    )
