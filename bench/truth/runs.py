"""True runs, second by second, and the fixes that phones record of them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

import numpy as np
import numpy.typing as npt

from bench.truth.courses import ORIGIN, Place, degrees
from runners.races.course import Course
from runners.simulation.motion import Wander

Floats = npt.NDArray[np.float64]
GUN_MS = 1_780_000_000_000
# How long a runner is followed before the gun and after the finish.
BEFORE_S = 300
AFTER_S = 1_500


@dataclass(frozen=True)
class Fix:
    t: int
    lat: float
    lng: float
    accuracy: float | None = 5.0
    speed: float | None = None
    heading: float | None = None


@dataclass
class TrueRun:
    """The position of a runner at each second, from BEFORE_S before the gun on.

    `distances` is NaN where no progress is defined: on a detour and in a car. `astray`
    has the seconds between which the runner was off the course.
    """

    event: str
    xs: list[float] = field(default_factory=list)
    ys: list[float] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    astray: list[tuple[int, int]] = field(default_factory=list)
    started: float | None = None
    finished: float | None = None
    pace: float = 3.0
    origin: Place = ORIGIN

    def index(self, t: int) -> float:
        return (t - GUN_MS) / 1000 + BEFORE_S

    def distance_at(self, t: int) -> float:
        index = min(max(self.index(t), 0.0), len(self.distances) - 1.001)
        low, high = self.distances[int(index)], self.distances[int(index) + 1]
        return low + index % 1 * (high - low)

    def time_at(self, distance: float) -> float | None:
        """Return the time (ms) at which a distance was first reached, or None."""
        reached = np.array(self.distances) >= distance
        after = int(reached.argmax())
        if after == 0:
            return None
        low, high = self.distances[after - 1], self.distances[after]
        if math.isnan(low):
            return None
        part = (distance - low) / (high - low) if high > low else 1.0
        return GUN_MS + 1000 * (after - 1 + part - BEFORE_S)


EVENTS = ("none", "none", "wrong turn", "detour", "skip", "none")
# Unlike others, these stay at the start, start late or walk.
PEOPLE = ("stands", "starts late", "walks")
STANDS_S = 7_200


def run_of(
    places: list[Place],
    course: Course,
    random: Random,
    event: str,
    *,
    after_s: int = AFTER_S,
) -> TrueRun:
    """Run a course, whose points are the places.

    `event` is a fault at a random place, "car", or one of PEOPLE.
    """
    run = TrueRun(event)
    pace = random.uniform(1.1, 1.7) if event == "walks" else random.uniform(2.0, 4.5)
    run.pace = pace
    scale, line = course.length, course.distances

    def point(distance: float) -> Place:
        if distance < 0 or distance > scale:
            end, inner = (0.0, 10.0) if distance < 0 else (scale, scale - 10)
            (x, y), (ix, iy) = point(end), point(inner)
            part = abs(distance - end) / 10
            return x + part * (x - ix), y + part * (y - iy)
        # For single values, this is several times as fast as NumPy.
        low = min(bisect_right(line, distance), len(line) - 1) - 1
        (x, y), (ahead_x, ahead_y) = places[low : low + 2]
        part = (distance - line[low]) / (line[low + 1] - line[low])
        return x + part * (ahead_x - x), y + part * (ahead_y - y)

    def record(place: Place, distance: float) -> None:
        run.xs.append(place[0])
        run.ys.append(place[1])
        run.distances.append(distance)

    behind = -random.uniform(0, 40)
    delay = random.uniform(0, 40)
    if event == "starts late":
        delay = random.uniform(300, 1_800)
    elif event == "stands":
        delay = STANDS_S
    for _ in range(BEFORE_S + round(delay)):
        record(point(behind), behind)
    if event == "stands":
        return run
    form, slope = Wander(0.08, 400, random), Wander(0.12, 60, random)
    distance, rest = behind, 0.0
    at = random.uniform(0.2, 0.75) * scale
    done = event in ("none", *PEOPLE)
    while distance < scale:
        if rest > 0:
            rest -= 1
            record(point(distance), distance)
            continue
        if random.random() < 1 / 4_000 and distance > 100:
            rest = random.uniform(20, 240)
        fade = 1 - 0.15 * distance / scale
        speed = pace * fade * math.exp(form.step(1) + slope.step(1))
        if not done and distance >= at:
            done = True
            if event == "car":
                drive(run, point, distance, scale, random, record)
                return run
            began = len(run.xs)
            distance = _astray(event, distance, scale, point, speed, random, record)
            if event != "skip":
                run.astray.append((began, len(run.xs)))
        distance += speed
        record(point(distance), distance)
    run.finished = run.time_at(scale)
    # After the line, runners stand short of it or behind it.
    stands = scale + random.uniform(-40, 30)
    for _ in range(after_s):
        distance += max(min(stands - distance, 1.2), -1.2)
        record(point(distance), max(distance, scale))
    return run


def _astray(
    event: str,
    distance: float,
    scale: float,
    point: Callable[[float], Place],
    speed: float,
    random: Random,
    record: Callable[[Place, float], None],
) -> float:
    """Leave the course. Return the distance at which the runner comes back to it."""
    x, y = point(distance)
    if event == "wrong turn":
        to_x, to_y = point(distance + 10)
        ahead = math.atan2(to_y - y, to_x - x)
        angle = ahead + random.choice((-1, 1)) * random.uniform(0.7, 2.0)
        length, bend = random.uniform(200, 800), random.uniform(-1e-3, 1e-3)
        way = [(x, y)]
        for _ in range(1, int(length)):
            angle += bend
            way.append((way[-1][0] + math.cos(angle), way[-1][1] + math.sin(angle)))
        way += way[::-1]
        for metre in np.arange(0, len(way) - 1, speed):
            record(way[int(metre)], distance)
        return distance
    back = min(distance + random.uniform(300, 900), scale - 100)
    to_x, to_y = point(back)
    aside = random.choice((-1, 1)) * random.uniform(200, 500)
    if event == "skip":
        aside, back = 0.0, min(distance + random.uniform(200, 600), scale - 100)
        to_x, to_y = point(back)
    run, rise = to_x - x, to_y - y
    straight = max(math.hypot(run, rise), 1.0)
    parts = np.linspace(0, 1, max(2, int((straight + 2 * abs(aside)) / speed)))
    for part in parts:
        off = aside * math.sin(math.pi * part)
        record(
            (
                x + part * run - off * rise / straight,
                y + part * rise + off * run / straight,
            ),
            math.nan,
        )
    return back


def drive(
    run: TrueRun,
    point: Callable[[float], Place],
    distance: float,
    scale: float,
    random: Random,
    record: Callable[[Place, float], None],
) -> None:
    """Drop out, wait and go by car to the finish, along the course or straight."""
    began = len(run.xs)
    for _ in range(round(random.uniform(10, 240))):
        record(point(distance), distance)
    x, y = point(distance)
    to_x, to_y = point(scale)
    along = random.random() < 0.6
    length = scale - distance if along else math.hypot(to_x - x, to_y - y) * 1.3
    speed, way = random.uniform(7, 20), 0.0
    driving = Wander(0.3, 30, random)
    while way < length:
        way += speed * math.exp(driving.step(1)) * (random.random() < 0.9)
        part = min(way / length, 1.0)
        place = (
            point(distance + part * (scale - distance))
            if along
            else (x + part * (to_x - x), y + part * (to_y - y))
        )
        record(place, math.nan)
    run.astray.append((began, len(run.xs)))
    for _ in range(AFTER_S):
        record(point(scale + 15), math.nan)


# -- phones


@dataclass(frozen=True)
class Recording:
    """A phone's fixes, and the standard deviation of its usual error in metres."""

    fixes: list[Fix]
    sigma: float


def record(
    run: TrueRun,
    places: list[Place],
    every: int,
    family: str,
    random: Random,
    *,
    sigma: float | None = None,
    longest: float = math.inf,
) -> Recording:
    """Return the fixes of a run, one per interval.

    Family "tuning" has Gauss-Markov noise with periods of more noise. Family "judging"
    has noise of two correlation times, periods that drift away and come back, stretches
    with a constant error, and outliers near other parts of the course. Family "plain"
    has the same noise all the time, a quarter of it white, and outliers that are far
    away; half of them say how inaccurate they are. A silence takes at most `longest`
    seconds.
    """
    judging, plain = family == "judging", family == "plain"
    sigma = sigma or random.choice(SIGMAS_M[family])
    noise = _Noise(sigma, len(run.xs), family, random)
    dead = list(dead_zones(random, len(run.xs), longest))
    accuracy_kind = random.choice(("68 %", "constant", "nothing"))
    motion = every <= 5 and random.random() < 0.4
    fixes: list[Fix] = []
    second = random.uniform(0, every)
    before = second
    while second < len(run.xs) - 1:
        index = int(second)
        t = GUN_MS + round((second - BEFORE_S) * 1000)
        east, north, spread = noise.at(second, second - before)
        before = second
        second += every * (1 if every < 5 else random.uniform(0.9, 1.15))
        if any(low <= index <= high for low, high in dead):
            continue
        x, y = run.xs[index], run.ys[index]
        outlier = random.random() < 0.003
        if outlier:
            away = random.uniform(300 if plain else 80, 3_000)
            if judging and random.random() < 0.5:
                x, y = random.choice(places)
            else:
                angle = random.uniform(0, 6.3)
                x, y = x + away * math.cos(angle), y + away * math.sin(angle)
        accuracy = {
            "68 %": 1.5 * spread * random.uniform(0.8, 1.3),
            "constant": sigma if plain else 5.0,
            "nothing": None,
        }[accuracy_kind]
        if outlier and plain and random.random() < 0.5:
            accuracy = 900.0
        lat, lng = degrees(x + east, y + north, run.origin)
        speed = heading = None
        if motion:
            run_x = run.xs[index + 1] - run.xs[index]
            run_y = run.ys[index + 1] - run.ys[index]
            speed = max(0.0, math.hypot(run_x, run_y) + random.gauss(0, 0.2))
            heading = (
                math.degrees(math.atan2(run_x, run_y)) + random.gauss(0, 10)
            ) % 360
        fixes.append(Fix(t, lat, lng, accuracy, speed, heading))
    return Recording(fixes, sigma)


SIGMAS_M = {
    "tuning": (4.0, 8.0, 15.0),
    "judging": (3.0, 6.0, 12.0),
    "plain": (3.0, 6.0, 10.0, 20.0, 30.0),
}
# Correlation times in seconds, and the variance divided by the part of each.
MEMORIES = {
    "tuning": ((30.0, 1.0),),
    "judging": ((8.0, 2.0), (120.0, 2.0)),
    "plain": ((0.01, 4.0), (25.0, 4 / 3)),
}


class _Noise:
    """The error of a phone, and its present size."""

    def __init__(self, sigma: float, seconds: int, family: str, random: Random) -> None:
        self.axes = [
            [Wander(sigma / math.sqrt(n), m, random) for m, n in MEMORIES[family]]
            for _ in "xy"
        ]
        self.judging = judging = family == "judging"
        self.more = [Wander(1.0, 40, random) for _ in "xy"]
        self.spells = []
        at = math.inf if family == "plain" else random.expovariate(1 / 1_500)
        while at < seconds:
            length = random.uniform(40, 180) if judging else random.uniform(30, 120)
            angle, size = random.uniform(0, 6.3), 35 * random.weibullvariate(1.0, 2.0)
            self.spells.append((at, at + length, angle, size))
            at += length + random.expovariate(1 / 1_500)

    def at(self, second: float, passed: float) -> tuple[float, float, float]:
        east, north = (sum(w.step(passed) for w in axis) for axis in self.axes)
        extra = [wander.step(passed) for wander in self.more]
        spread = sum(w.spread**2 for w in self.axes[0]) ** 0.5
        for low, high, angle, size in self.spells:
            if low <= second <= high:
                if self.judging:
                    ramp = min(1.0, (second - low) / 20, (high - second) / 20)
                    east += ramp * size * math.cos(angle)
                    north += ramp * size * math.sin(angle)
                else:
                    east, north = east + 35 * extra[0], north + 35 * extra[1]
                spread = math.hypot(spread, size)
        return east, north, spread


def dead_zones(
    random: Random, seconds: int, longest: float
) -> Iterator[tuple[float, float]]:
    if random.random() < 0.25:
        at = random.uniform(BEFORE_S + 300, seconds)
        yield at, at + min(random.uniform(600, 2_400), longest)
    for _ in range(random.choice((0, 1, 2))):
        at = random.uniform(BEFORE_S + 60, seconds)
        yield at, at + min(random.choice((45, 90, 240)), longest)
