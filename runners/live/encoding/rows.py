"""A fix as a row of numbers, as clients read it from sockets and by HTTP."""

from __future__ import annotations

import math
from typing import Any


def fix_row(
    t: int,
    lat: float,
    lng: float,
    speed: float | None,
    heading: float | None,
    progress: float | None = None,
    uncertainty: float | None = None,
) -> list[Any]:
    """Return a fix as [t, lat, lng, speed, heading, progress, uncertainty].

    The last is left out where it is unknown. Coordinates have five decimals, which is a
    metre.
    """
    row = [
        t,
        round(lat, 5),
        round(lng, 5),
        None if speed is None else round(speed, 2),
        None if heading is None else round(heading) % 360,
        None if progress is None else round(progress),
    ]
    return row if uncertainty is None else [*row, math.ceil(uncertainty)]
