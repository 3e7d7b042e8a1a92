"""Courses on which progress is hard to determine: x and y in metres."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from runners.races.course import Course
from runners.simulation.motion import Wander

METRES_PER_DEGREE = 111_195.0

Place = tuple[float, float]


def figure_of_eight(random: Random) -> list[Place]:
    size, count = random.uniform(400, 1_500), 800
    tall = random.uniform(0.6, 1.4)
    return [
        (
            size * math.sin(2 * math.pi * i / count),
            size * tall * math.sin(4 * math.pi * i / count),
        )
        for i in range(count + 1)
    ]


def loop(random: Random) -> list[Place]:
    size, count = random.uniform(400, 1_500), 600
    waves = [(n, random.uniform(0, 0.3) / n, random.uniform(0, 6)) for n in (2, 3, 5)]
    found = []
    for i in range(count + 1):
        angle = 2 * math.pi * (i % count) / count
        radius = size * (1 + sum(a * math.sin(n * angle + p) for n, a, p in waves))
        found.append((radius * math.sin(angle), radius * math.cos(angle)))
    return found


def four_laps(random: Random) -> list[Place]:
    one = [(x * 0.4, y * 0.4) for x, y in loop(random)]
    # The lap is drawn once and repeated, or recorded by a watch.
    shake = random.choice((0.0, 3.0))
    east, north = Wander(shake, 30, random), Wander(shake, 30, random)
    return [
        (x + east.step(1), y + north.step(1))
        for lap in range(4)
        for x, y in (one if lap == 0 else one[1:])
    ]


def track(random: Random, length: int = 5_000) -> list[Place]:
    """Return laps of 400 m, up to a length in metres."""
    straight, radius = 84.39, 36.5
    found: list[Place] = []
    for metre in range(0, length + 1, 4):
        at = metre % 400
        bend = math.pi * radius
        if at < straight:
            found.append((at, 0.0))
        elif at < straight + bend:
            angle = (at - straight) / radius
            found.append(
                (straight + radius * math.sin(angle), radius * (1 - math.cos(angle)))
            )
        elif at < 2 * straight + bend:
            found.append((straight - (at - straight - bend), 2 * radius))
        else:
            angle = (at - 2 * straight - bend) / radius
            found.append((-radius * math.sin(angle), radius * (1 + math.cos(angle))))
    return found


def out_and_back(random: Random) -> list[Place]:
    out = winding(random, random.uniform(2_000, 5_000), 0.02)
    # The way back is on the other side of the street, or the same line.
    aside = random.choice((0.0, 0.0, 8.0))
    return out + [(x + aside, y + aside) for x, y in reversed(out[:-1])]


def point_to_point(random: Random) -> list[Place]:
    return winding(random, random.uniform(4_000, 10_000), 0.03)


def crossings(random: Random) -> list[Place]:
    """Return a line that crosses itself repeatedly."""
    one = [(random.uniform(100, 300), random.uniform(0, 6)) for _ in range(4)]
    count = 2_000
    found = []
    for i in range(count):
        angle = 2 * math.pi * i / count
        found.append(
            (
                500 * math.sin(3 * angle + one[0][1]) + one[0][0] * math.sin(7 * angle),
                500 * math.sin(2 * angle + one[1][1]) + one[1][0] * math.sin(5 * angle),
            )
        )
    return found


def switchbacks(random: Random) -> list[Place]:
    width, apart = random.uniform(80, 300), random.uniform(15, 40)
    found = []
    for leg in range(random.randint(12, 24)):
        ends = (0.0, width) if leg % 2 == 0 else (width, 0.0)
        found += [(x, leg * apart) for x in ends]
    return found


def winding(random: Random, length: float, turn: float) -> list[Place]:
    x = y = angle = 0.0
    found = [(x, y)]
    for _ in range(int(length / 10)):
        angle = 0.97 * angle + random.gauss(0, turn * 3)
        x, y = x + 10 * math.cos(angle), y + 10 * math.sin(angle)
        found.append((x, y))
    return found


KINDS: dict[str, Callable[[Random], list[Place]]] = {
    "figure of eight": figure_of_eight,
    "loop": loop,
    "four laps": four_laps,
    "track, 12.5 laps": track,
    "out and back": out_and_back,
    "crossings": crossings,
    "switchbacks": switchbacks,
    "point to point": point_to_point,
}
# The number of laps, for kinds with laps.
LAPS = {"four laps": 4.0, "track, 12.5 laps": 12.5}


def course_of(places: list[Place], random: Random) -> Course:
    lat, lng = random.uniform(-55, 60), random.uniform(-180, 180)
    shrink = METRES_PER_DEGREE * math.cos(math.radians(lat))
    return Course(
        [
            (lat + y / METRES_PER_DEGREE, (lng + x / shrink + 180) % 360 - 180)
            for x, y in places
        ]
    )
