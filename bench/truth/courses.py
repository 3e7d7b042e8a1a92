"""Courses that are hard for map matching, as points in metres east and north."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random

from runners.races.course import Course
from runners.units.earth import METRES_PER_DEGREE
from tests.races.shapes import Place, track

LAT = 47.0
LNG = 8.0


def winding(random: Random, length: float, turn: float) -> list[Place]:
    """Return a line with random bends and a point every 10 m."""
    x = y = angle = 0.0
    found = [(x, y)]
    for _ in range(int(length / 10)):
        angle = 0.97 * angle + random.gauss(0, turn)
        x, y = x + 10 * math.cos(angle), y + 10 * math.sin(angle)
        found.append((x, y))
    return found


def road(random: Random) -> list[Place]:
    return winding(random, random.uniform(14_000, 21_000), 0.06)


def out_and_back(random: Random) -> list[Place]:
    out = winding(random, random.uniform(5_000, 9_000), 0.06)
    aside = random.choice((0.0, 8.0))
    return out + [(x + aside, y + aside) for x, y in reversed(out[:-1])]


def laps(random: Random) -> list[Place]:
    """Return four laps of 3 to 5 km."""
    size = random.uniform(400, 650)
    waves = [(n, random.uniform(0, 0.3) / n, random.uniform(0, 6)) for n in (2, 3, 5)]
    lap = []
    for i in range(400):
        angle = 2 * math.pi * i / 400
        radius = size * (1 + sum(a * math.sin(n * angle + p) for n, a, p in waves))
        lap.append((radius * math.sin(angle), radius * math.cos(angle)))
    return [*lap * 4, lap[0]]


def crossing(random: Random) -> list[Place]:
    """Return a line that crosses itself repeatedly."""
    one, other = random.uniform(0, 6), random.uniform(0, 6)
    size = random.uniform(900, 1_400)
    found = []
    for i in range(1_600):
        angle = 2 * math.pi * i / 1_600
        found.append(
            (
                size * math.sin(3 * angle + one) + 200 * math.sin(7 * angle),
                size * math.sin(2 * angle + other) + 200 * math.sin(5 * angle),
            )
        )
    return found


def mountain(random: Random) -> list[Place]:
    """Return a trail with hairpin bends 30 to 45 m apart, and two spurs."""
    found = winding(random, 3_000, 0.12)
    for _ in range(2):
        x, y = found[-1]
        width, apart = random.uniform(120, 300), random.uniform(30, 45)
        for leg in range(8):
            ends = (0.0, width) if leg % 2 == 0 else (width, 0.0)
            found += [(x + 20 + end, y + leg * apart) for end in ends]
        found += moved(winding(random, 2_500, 0.12), found[-1])
        spur = moved(winding(random, random.uniform(200, 600), 0.02), found[-1])
        found += spur + spur[-2::-1]
        found += moved(winding(random, 2_000, 0.12), found[-1])
    return found


def moved(places: list[Place], origin: Place) -> list[Place]:
    """Return the places after the first, moved so that the first would be at the
    origin.
    """
    x, y = origin
    return [(x + east, y + north) for east, north in places[1:]]


COURSES: dict[str, Callable[[Random], list[Place]]] = {
    "road": road,
    "out and back": out_and_back,
    "laps": laps,
    # 25 laps of 400 m.
    "track": partial(track, length=10_000),
    "crossing": crossing,
    "mountain": mountain,
}


def degrees(x: float, y: float) -> tuple[float, float]:
    """Convert metres east and north to latitude and longitude."""
    shrink = math.cos(math.radians(LAT))
    return LAT + y / METRES_PER_DEGREE, LNG + x / METRES_PER_DEGREE / shrink


def course_of(places: list[Place]) -> Course:
    return Course([degrees(x, y) for x, y in places])
