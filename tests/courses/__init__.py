"""Realistic courses with elevations and a point every 18 m.

- boston: a marathon from point to point.
- leadville: 100 miles out and back; the two directions are up to 350 m apart.
- five_laps: five laps of a park, 10 km.

Each row of a file is the step from the previous point (the first one from 0, 0 and sea
level): 1/100,000 of a degree north and east, and metres up.
"""

from __future__ import annotations

import csv
from itertools import accumulate
from pathlib import Path
from typing import Literal, get_args

from runners.races.course import Course

Name = Literal["boston", "leadville", "five_laps"]
NAMES: tuple[Name, ...] = get_args(Name)


def course(name: Name) -> Course:
    """Read a course."""
    with (Path(__file__).parent / f"{name}.csv").open(newline="") as file:
        steps = [[int(step) for step in row] for row in csv.reader(file)]
    north, east, up = (accumulate(steps) for steps in zip(*steps, strict=True))
    return Course(
        (lat / 1e5, lng / 1e5, height)
        for lat, lng, height in zip(north, east, up, strict=True)
    )
