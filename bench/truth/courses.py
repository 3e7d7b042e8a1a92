"""Courses that are hard for map matching, as points in metres east and north."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random

from runners.races.course import Course
from runners.races.progress import Guide, Mark
from runners.simulation.motion import Wander
from runners.units.earth import METRES_PER_DEGREE
from tests import courses

# Metres east and north of an origin.
Place = tuple[float, float]
# Latitude and longitude.
ORIGIN = 47.0, 8.0


def winding(random: Random, length: float, turn: float) -> list[Place]:
    """Return a line with random bends and a point every 10 m."""
    x = y = angle = 0.0
    found = [(x, y)]
    for _ in range(int(length / 10)):
        angle = 0.97 * angle + random.gauss(0, turn)
        x, y = x + 10 * math.cos(angle), y + 10 * math.sin(angle)
        found.append((x, y))
    return found


def road(random: Random, shortest: float, longest: float) -> list[Place]:
    return winding(random, random.uniform(shortest, longest), 0.06)


def out_and_back(random: Random, shortest: float, longest: float) -> list[Place]:
    out = road(random, shortest, longest)
    aside = random.choice((0.0, 8.0))
    return out + [(x + aside, y + aside) for x, y in reversed(out[:-1])]


def lap(random: Random, smallest: float, largest: float) -> list[Place]:
    """Return a lap of a radius, without its end."""
    size = random.uniform(smallest, largest)
    waves = [(n, random.uniform(0, 0.3) / n, random.uniform(0, 6)) for n in (2, 3, 5)]
    found = []
    for i in range(400):
        angle = 2 * math.pi * i / 400
        radius = size * (1 + sum(a * math.sin(n * angle + p) for n, a, p in waves))
        found.append((radius * math.sin(angle), radius * math.cos(angle)))
    return found


def laps(random: Random) -> list[Place]:
    """Return four laps of 3 to 5 km."""
    one = lap(random, 400, 650)
    return [*one * 4, one[0]]


def loop(random: Random) -> list[Place]:
    one = lap(random, 400, 1_500)
    return [*one, one[0]]


def recorded_laps(random: Random) -> list[Place]:
    """Return four laps of 1 to 5 km, drawn once and repeated, or seen by a watch."""
    one = lap(random, 160, 600)
    shake = random.choice((0.0, 3.0))
    east, north = Wander(shake, 30, random), Wander(shake, 30, random)
    return [(x + east.step(1), y + north.step(1)) for x, y in [*one * 4, one[0]]]


def track(random: Random, length: int) -> list[Place]:
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


def figure_of_eight(random: Random) -> list[Place]:
    size, tall = random.uniform(400, 1_500), random.uniform(0.6, 1.4)
    angles = [2 * math.pi * i / 800 for i in range(801)]
    return [(size * math.sin(a), size * tall * math.sin(2 * a)) for a in angles]


def crossing(random: Random, smallest: float, largest: float) -> list[Place]:
    """Return a line that crosses itself repeatedly."""
    one, other = random.uniform(0, 6), random.uniform(0, 6)
    size = random.uniform(smallest, largest)
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


def switchbacks(random: Random) -> list[Place]:
    width, apart = random.uniform(80, 300), random.uniform(15, 40)
    legs = random.randint(12, 24)
    return [
        (x, leg * apart)
        for leg in range(legs)
        for x in ((0.0, width) if leg % 2 == 0 else (width, 0.0))
    ]


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


def real(random: Random, name: courses.Name) -> list[Place]:
    points = courses.course(name).points
    first_lat, first_lng, _ = points[0]
    shrink = math.cos(math.radians(first_lat))
    return [
        (
            (lng - first_lng) * METRES_PER_DEGREE * shrink,
            (lat - first_lat) * METRES_PER_DEGREE,
        )
        for lat, lng, _ in points
    ]


Kinds = dict[str, Callable[[Random], list[Place]]]
COURSES: Kinds = {
    "road": partial(road, shortest=14_000, longest=21_000),
    "out and back": partial(out_and_back, shortest=5_000, longest=9_000),
    "laps": laps,
    # 25 laps of 400 m.
    "track": partial(track, length=10_000),
    "crossing": partial(crossing, smallest=900, largest=1_400),
    "mountain": mountain,
}
# On these, all progress and all splits have to be right.
SHORT_COURSES: Kinds = {
    "figure of eight": figure_of_eight,
    "loop": loop,
    "four laps": recorded_laps,
    "track, 12.5 laps": partial(track, length=5_000),
    "out and back": partial(out_and_back, shortest=2_000, longest=5_000),
    "crossings": partial(crossing, smallest=400, largest=600),
    "switchbacks": switchbacks,
    "point to point": partial(road, shortest=4_000, longest=10_000),
}
REAL_COURSES: Kinds = {name: partial(real, name=name) for name in courses.NAMES}
# The number of laps, for short and real courses with laps.
LAPS = {"four laps": 4.0, "track, 12.5 laps": 12.5, "five_laps": 5.0}


def degrees(x: float, y: float, origin: Place = ORIGIN) -> tuple[float, float]:
    """Convert metres east and north of the origin to latitude and longitude."""
    lat, lng = origin
    lng += x / METRES_PER_DEGREE / math.cos(math.radians(lat))
    # Beyond the antimeridian.
    if abs(lng) > 180:
        lng = (lng + 180) % 360 - 180
    return lat + y / METRES_PER_DEGREE, lng


def course_of(places: list[Place], origin: Place = ORIGIN) -> Course:
    return Course([degrees(x, y, origin) for x, y in places])


def guide_of(course: Course, spacing: float = 1_000.0) -> Guide:
    """Return a guide with a split every kilometre, or another number of metres."""
    splits = [
        Mark(number, spacing * number, "split")
        for number in range(1, math.ceil((course.length - 50) / spacing))
    ]
    return Guide(
        course, [Mark(0, 0.0, "start"), *splits, Mark(999, course.length, "finish")]
    )
