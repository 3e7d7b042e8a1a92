"""Runners whose progress is known, on courses that make it hard to tell.

    python -m tests.races.truth             a few of each kind
    python -m tests.races.truth --long      200 courses, and real ones where present

A row of the table for each kind of course, and one for what was told live, before late
fixes came. "within": progress within max(15 m, 3 sigma); "p99" and "worst" of the
errors, as parts of that and in metres; "far": over 100 m more than it, as another lap
is; "unknown": fixes for which no progress was told. A split is within if it is off by
no more than the time between the fixes around it and 3 sigma at the runner's speed.
"""

from __future__ import annotations

import argparse
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from runners.races.course import Course
from runners.races.progress import Guide, Mark, Replay
from runners.simulation.motion import Wander

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = ("boston_marathon_course", "leadville_100_out_and_back")
METRES_A_DEGREE = 111_195.0
GUN = 1_780_000_000_000
NOISES = (3.0, 6.0, 10.0, 20.0, 30.0)
# The part of the noise's variance that stays, as behind a wall or under trees.
LASTING = 0.75
INTERVALS = (1, 1, 2, 5, 10, 20)

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Fix:
    t: int
    lat: float
    lng: float
    accuracy: float | None
    speed: float | None
    heading: float | None


@dataclass
class Run:
    """A runner's fixes, in time and late, with what was true at each."""

    guide: Guide
    course: Course
    marks: list[Mark]
    sigma: float
    fixes: list[Fix]
    late: set[int]
    wrong: set[int]
    # Seconds since the gun, and the distance at each.
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


@dataclass
class Score:
    """What was told of runs, against what was true."""

    runs: int = 0
    fixes: int = 0
    unknown: int = 0
    held: int = 0
    within: int = 0
    far: int = 0
    worst: float = 0.0
    splits: int = 0
    split_within: int = 0
    split_worst: float = 0.0
    missed: int = 0
    false_splits: int = 0
    false_finishes: int = 0
    no_finish: int = 0
    errors: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, run: Run, replay: Replay, fixes: list[Fix]) -> None:
        self.runs += 1
        limit = max(15.0, 3 * run.sigma)
        for fix, progress, held in zip(
            fixes, replay.progress, replay.held, strict=True
        ):
            true = run.distance_at(fix.t)
            if not 0 < true < run.course.length or fix.t in run.wrong:
                continue
            self.fixes += 1
            self.held += held
            if progress is None:
                self.unknown += 1
                continue
            error = abs(progress - true)
            self.within += error <= limit
            self.far += error > limit + 100
            self.worst = max(self.worst, error)
            self.errors.append(error / limit)
        self._add_splits(
            run, replay, [fix.t for fix in fixes if fix.t not in run.wrong]
        )

    def _add_splits(self, run: Run, replay: Replay, times: list[int]) -> None:
        found = {(p.mark, p.pass_number): p for p in replay.splits}
        self.false_splits += len(replay.splits) - len(found)
        expected = {(p.mark, p.pass_number): p.distance for p in run.guide.passes}
        for key, distance in expected.items():
            passing = found.pop(key, None)
            if passing is None and not _seen_after(run, distance, times):
                continue
            if passing is None:
                self.missed += 1
                self.notes.append(f"missed {key} at {distance:.0f}")
                continue
            self.splits += 1
            true = GUN + run.time_at(distance) * 1000
            after = bisect_left(times, true)
            between = (
                times[min(after, len(times) - 1)] - times[max(after - 1, 0)]
            ) / 1000
            off = abs(passing.at - true) / 1000
            # At the speed at which the runner moved between the two.
            moved = abs(run.distance_at(passing.at) - distance)
            speed = moved / max(off, 0.001)
            fits = off <= between + 3 * run.sigma / max(speed, 0.1)
            self.split_within += fits
            if not fits:
                self.notes.append(
                    f"split {key} at {distance:.0f} off by "
                    f"{(passing.at - true) / 1000:.0f} s, {between:.0f} s between "
                    f"fixes, sigma {run.sigma:.0f}, speed {speed:.1f}"
                )
            self.split_worst = max(self.split_worst, off)
        self.false_splits += len(found)
        end = GUN + run.time_at(run.course.length) * 1000
        if replay.state.finished is None:
            if not _seen_after(run, run.course.length, times):
                return
            self.no_finish += 1
            self.notes.append("no finish")
        elif replay.state.finished < end - 120_000:
            self.false_finishes += 1
            self.notes.append(
                f"finished {(end - replay.state.finished) / 1000:.0f} s early"
            )

    def row(self) -> str:
        errors = sorted(self.errors)
        p99 = errors[int(len(errors) * 0.99)] if errors else 0.0
        known = self.fixes - self.unknown
        return (
            f"{self.runs:4} {self.fixes:8,} {100 * self.within / max(known, 1):8.3f} %"
            f" {p99:6.2f} {self.worst:8.0f} {self.far:6}"
            f" {100 * self.unknown / max(self.fixes, 1):6.2f} %"
            f" {self.split_within:6}/{self.splits:<6} {self.missed:5}"
            f" {self.false_splits:5} {self.false_finishes:5} {self.no_finish:5}"
        )


def _seen_after(run: Run, distance: float, times: list[int]) -> bool:
    """Return whether there are fixes enough after a place to know of its passing."""
    true = GUN + (run.time_at(distance) + 20) * 1000
    return len(times) - bisect_left(times, true) >= 3


HEADER = (
    f"{'':32} {'runs':>4} {'fixes':>8} {'within':>10} {'p99':>6} {'worst m':>8}"
    f" {'far':>6} {'unknown':>8} {'splits within':>13} {'missed':>5} {'false':>5}"
    f" {'early':>5} {'none':>5}"
)


# Courses: x and y in metres.


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
    # As drawn once and repeated, or as a watch recorded it.
    shake = random.choice((0.0, 3.0))
    east, north = Wander(shake, 30, random), Wander(shake, 30, random)
    return [
        (x + east.step(1), y + north.step(1))
        for lap in range(4)
        for x, y in (one if lap == 0 else one[1:])
    ]


def track(random: Random) -> list[Place]:
    """Twelve laps and a half of 400 m."""
    straight, radius = 84.39, 36.5
    found: list[Place] = []
    for metre in range(0, 5_001, 4):
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
    # The way back on the other side of the street, or in the same steps.
    aside = random.choice((0.0, 0.0, 8.0))
    return out + [(x + aside, y + aside) for x, y in reversed(out[:-1])]


def point_to_point(random: Random) -> list[Place]:
    return winding(random, random.uniform(4_000, 10_000), 0.03)


def crossings(random: Random) -> list[Place]:
    """A line that wanders over itself again and again."""
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


LAPS = {"four laps": 4.0, "track, 12.5 laps": 12.5}


def course_of(places: list[Place], random: Random) -> Course:
    lat, lng = random.uniform(-55, 60), random.uniform(-180, 180)
    shrink = METRES_A_DEGREE * math.cos(math.radians(lat))
    return Course(
        [
            (lat + y / METRES_A_DEGREE, (lng + x / shrink + 180) % 360 - 180)
            for x, y in places
        ]
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
    """Return a runner's fixes, from some minutes before the gun on."""
    marks = marks_of(course)
    pace = pace or random.uniform(2.0, 5.0)
    seconds, distances = _motion(course, random, pace)
    white, slow = sigma * math.sqrt(1 - LASTING), sigma * math.sqrt(LASTING)
    east, north = Wander(slow, 25, random), Wander(slow, 25, random)
    says = random.choice(("68 %", "sigma", "nothing"))
    motion = random.random() < 0.6
    # Half a lap at most: with more, nobody could tell which one it is.
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
        }[says]
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
                lat + off_north / METRES_A_DEGREE,
                (lng + off_east / METRES_A_DEGREE / shrink + 180) % 360 - 180,
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
    """Return seconds and distances: a wait, a run with rests, a while afterwards."""
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
    """Return a place on the course, behind its start or beyond its end."""
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


def live(run: Run) -> tuple[Replay, list[Fix]]:
    """Return what was told as the fixes came, those that came late left out."""
    fixes = [fix for fix in run.fixes if fix.t not in run.late]
    return run.guide.replay(GUN, fixes), fixes


def sample(kind: str, seed: int) -> Run:
    """Return the same run each time for a kind of course and a seed."""
    random = Random(f"{kind} {seed}")
    course = course_of(KINDS[kind](random), random)
    return run_of(
        course,
        random,
        sigma=NOISES[seed % len(NOISES)],
        interval=random.choice(INTERVALS),
        lap=course.length / LAPS[kind] if kind in LAPS else None,
    )


def scores(kind: str, seeds: range, *, table: dict[str, Score]) -> None:
    for seed in seeds:
        score_run(kind, sample(kind, seed), table, f"{kind} {seed}")


def score_run(kind: str, run: Run, table: dict[str, Score], name: str) -> None:
    for suffix, (replay, fixes) in (
        ("", (run.guide.replay(GUN, run.fixes), run.fixes)),
        (", live", live(run)),
    ):
        score = table.setdefault(kind + suffix, Score())
        notes = len(score.notes)
        score.add(run, replay, fixes)
        score.notes[notes:] = [f"{name}{suffix}: {n}" for n in score.notes[notes:]]


def real(name: str, runners: range, *, table: dict[str, Score]) -> None:
    """Score runners on a real course, if it is on this machine."""
    path = DATA / f"{name}.gpx"
    if not path.exists():
        return
    course = Course.from_gpx(path.read_bytes())
    guide = Guide(course, marks_of(course))
    for seed in runners:
        random = Random(f"{name} {seed}")
        sigma, interval = NOISES[seed % len(NOISES)], (1, 5, 10, 20)[seed % 4]
        run = run_of(course, random, sigma=sigma, interval=interval, guide=guide)
        score_run(name, run, table, f"{name} {seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--notes", action="store_true", help="say what failed")
    parser.add_argument("--kind", choices=KINDS)
    # The constants of progress were chosen on seeds 0 to 24, for folds on 1000 to 1024
    # and 3000 to 3024 too: look at others.
    parser.add_argument("--first", type=int, default=0, help="seed to begin with")
    options = parser.parse_args()
    table: dict[str, Score] = {}
    for kind in [options.kind] if options.kind else KINDS:
        seeds = range(options.first, options.first + (25 if options.long else 5))
        scores(kind, seeds, table=table)
    if options.long and not options.kind:
        for name in REAL:
            real(name, range(10), table=table)
    print(HEADER)
    for name, score in table.items():
        print(f"{name:32} {score.row()}")
        if options.notes:
            print(*score.notes, sep="\n")


if __name__ == "__main__":
    main()
