"""Simulated runs of known distances: with noise, silences and false fixes."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from random import Random

from runners.races.course import Course
from runners.races.progress import Guide, Mark
from runners.simulation.motion import Wander
from tests.races.shapes import KINDS, LAPS, METRES_PER_DEGREE, Place, course_of

GUN = 1_780_000_000_000
NOISES_M = (3.0, 6.0, 10.0, 20.0, 30.0)
# The share of the noise's variance that persists, as near walls or under trees.
PERSISTENT_SHARE = 0.75
INTERVALS_S = (1, 1, 2, 5, 10, 20)


@dataclass(frozen=True, slots=True)
class Fix:
    t: int
    lat: float
    lng: float
    accuracy: float | None = 5.0
    speed: float | None = None
    heading: float | None = None


@dataclass
class Run:
    """A runner's fixes, on time and late, with the true distance at each."""

    guide: Guide
    course: Course
    marks: list[Mark]
    sigma: float
    fixes: list[Fix]
    late: set[int]
    wrong: set[int]
    # Seconds since the gun, and the distances at these times.
    seconds: list[float]
    distances: list[float]

    def distance_at(self, t: int) -> float:
        index = bisect_right(self.seconds, (t - GUN) / 1000) - 1
        return self.distances[max(index, 0)]

    def time_at(self, distance: float) -> float:
        """Return the seconds since the gun at which a distance was reached."""
        index = bisect_left(self.distances, distance)
        if index == 0:
            return self.seconds[0]
        low, high = self.distances[index - 1], self.distances[index]
        part = (distance - low) / (high - low) if high > low else 1.0
        return self.seconds[index - 1] + part * (
            self.seconds[index] - self.seconds[index - 1]
        )


def marks_of(course: Course) -> list[Mark]:
    spacing = 1_000 if course.length < 10_000 else 5_000
    splits = [
        Mark(number, float(distance), "split")
        for number, distance in enumerate(
            range(spacing, int(course.length - 50), spacing), start=2
        )
    ]
    return [Mark(1, 0.0, "start"), *splits, Mark(0, course.length, "finish")]


def run_of(
    course: Course,
    random: Random,
    *,
    sigma: float,
    interval: int,
    pace: float | None = None,
    lap: float | None = None,
    guide: Guide | None = None,
) -> Run:
    """Return a runner's fixes, from some minutes before the gun."""
    marks = marks_of(course)
    pace = pace or random.uniform(2.0, 5.0)
    seconds, distances = _motion(course, random, pace)
    white, slow = (
        sigma * math.sqrt(1 - PERSISTENT_SHARE),
        sigma * math.sqrt(PERSISTENT_SHARE),
    )
    east, north = Wander(slow, 25, random), Wander(slow, 25, random)
    accuracy_kind = random.choice(("68 %", "sigma", "nothing"))
    motion = random.random() < 0.6
    # A silence covers at most half a lap, because a longer one leaves the lap unknown.
    longest = (lap or math.inf) / 2 / pace
    silences = _silences(random, seconds, longest)
    late_parts = _silences(random, seconds, longest)
    after = random.choice(("stands", "walks on"))
    fixes, late, wrong = [], set(), set()
    step = seconds[1] - seconds[0]
    for index in range(0, len(seconds), max(round(interval / step), 1)):
        now, distance = seconds[index], distances[index]
        if any(low <= now <= high for low, high in silences):
            continue
        t = GUN + round(now * 1000) + random.randint(0, 300)
        lat, lng = _place(course, distance, after)
        shrink = math.cos(math.radians(lat))
        off_east = east.step(interval) + random.gauss(0, white)
        off_north = north.step(interval) + random.gauss(0, white)
        accuracy = {
            "68 %": 1.5 * sigma * random.uniform(0.8, 1.2),
            "sigma": sigma,
            "nothing": None,
        }[accuracy_kind]
        if random.random() < 0.003:
            wrong.add(t)
            off_east += random.choice((-1, 1)) * random.uniform(300, 5_000)
        elif random.random() < 0.003:
            wrong.add(t)
            accuracy = 900.0
            off_north += random.gauss(0, 600)
        speed = (distances[min(index + 1, len(distances) - 1)] - distance) / step
        ahead_lat, ahead_lng = _place(course, distance + 3, after)
        bearing = math.degrees(
            math.atan2(((ahead_lng - lng + 180) % 360 - 180) * shrink, ahead_lat - lat)
        )
        fixes.append(
            Fix(
                t,
                lat + off_north / METRES_PER_DEGREE,
                (lng + off_east / METRES_PER_DEGREE / shrink + 180) % 360 - 180,
                accuracy,
                max(0.0, speed + random.gauss(0, 0.2)) if motion else None,
                (bearing + random.gauss(0, 10)) % 360 if motion else None,
            )
        )
        if any(low <= now <= high for low, high in late_parts):
            late.add(t)
    guide = guide or Guide(course, marks)
    return Run(guide, course, marks, sigma, fixes, late, wrong, seconds, distances)


def _motion(
    course: Course, random: Random, pace: float
) -> tuple[list[float], list[float]]:
    """Return times in seconds and distances: a wait, a run with rests, and the end."""
    form = Wander(0.12, 300, random)
    now, distance = -random.uniform(60, 300), -random.uniform(0, 60)
    step = 1.0
    delay = random.uniform(0, 60)
    rest_until = 0.0
    seconds, distances = [], []
    end: float | None = None
    while end is None or now < end + 180:
        seconds.append(now)
        distances.append(distance)
        if now >= delay and now >= rest_until:
            if random.random() < 0.0004 and distance > 50:
                rest_until = now + random.uniform(30, 180)
            limit = course.length + (0 if end is None else 60)
            speed = pace * math.exp(form.step(step)) if end is None else 1.2
            distance = min(distance + speed * step, limit)
            if end is None and distance >= course.length:
                end = now
        now += step
    return seconds, distances


def _silences(
    random: Random, seconds: list[float], longest: float
) -> list[tuple[float, float]]:
    count = random.choice((0, 1, 2, 3))
    found = []
    for _ in range(count):
        begin = random.uniform(60, seconds[-1] - 180)
        found.append(
            (begin, begin + min(random.choice((20, 45, 90, 240, 480)), longest))
        )
    return found


def _place(course: Course, distance: float, after: str) -> Place:
    """Return a position on the course, before its start or after its end."""
    if 0 <= distance <= course.length:
        return course.point_at(distance)
    if distance < 0:
        (lat, lng), (to_lat, to_lng) = course.point_at(0), course.point_at(10)
        share = distance / 10
    else:
        (to_lat, to_lng), (lat, lng) = (
            course.point_at(course.length - 10),
            course.point_at(course.length),
        )
        share = 0 if after == "stands" else -(distance - course.length) / 10
    return (
        lat + share * (to_lat - lat),
        (lng + share * ((to_lng - lng + 180) % 360 - 180) + 180) % 360 - 180,
    )


def sample(kind: str, seed: int) -> Run:
    """Return a run that depends only on the kind of course and the seed."""
    random = Random(f"{kind} {seed}")
    course = course_of(KINDS[kind](random), random)
    return run_of(
        course,
        random,
        sigma=NOISES_M[seed % len(NOISES_M)],
        interval=random.choice(INTERVALS_S),
        lap=course.length / LAPS[kind] if kind in LAPS else None,
    )
