"""Measure the cost of progress along a course: `python -m bench.progress [--short]`.

Prints µs of CPU per fix on a course of 45,000 points, by kind of fix, and the share of
a core that 2,000 entries at 1 Hz take. One thread, no server.
"""

from __future__ import annotations

import argparse
import math
import time
from random import Random
from typing import NamedTuple

from runners.races.course import Course
from runners.races.progress import Guide, Mark, State
from runners.units.earth import METRES_PER_DEGREE

COURSE_POINTS = 45_000
COURSE_LENGTH_M = 160_000
ENTRIES = 2_000
GUN_MS = 1_780_000_000_000
TARGET_US = 60.0
TARGET_CORE_SHARE = 0.12


class Fix(NamedTuple):
    t: int
    lat: float
    lng: float
    accuracy: float | None = 5.0
    speed: float | None = 3.0
    heading: float | None = None


def course_of(points: int, random: Random) -> Course:
    """Return a course of 160 km, out and back, that winds as a trail does."""
    lat, lng, angle = 45.0, 7.0, 0.0
    step = COURSE_LENGTH_M / points
    out = [(lat, lng)]
    for _ in range(points // 2):
        angle = 0.99 * angle + random.gauss(0, 0.08)
        lat += step * math.cos(angle) / METRES_PER_DEGREE
        lng += step * math.sin(angle) / METRES_PER_DEGREE / 0.7
        out.append((lat, lng))
    return Course(out + out[-2::-1])


def fix_at(course: Course, distance: float, t: int, random: Random) -> Fix:
    lat, lng = course.point_at(distance)
    noise = 5 / METRES_PER_DEGREE
    return Fix(t, lat + random.gauss(0, noise), lng + random.gauss(0, noise / 0.7))


def begun(guide: Guide, course: Course, distance: float, random: Random) -> State:
    """Return the state of a runner at a distance after running at 3 m/s."""
    state = guide.begin(GUN_MS)
    t = GUN_MS + round(distance / 3 * 1000)
    for second in range(120):
        fix = fix_at(course, distance + 3 * second, t + second * 1000, random)
        state, _ = guide.advance(state, fix)
    assert state.status == "started", state
    return state


def cost(guide: Guide, work: list[tuple[State, Fix]], repeat: int) -> float:
    """Return the least of several mean times, in µs of CPU."""
    best = math.inf
    for _ in range(repeat):
        began = time.process_time()
        for state, fix in work:
            guide.advance(state, fix)
        best = min(best, (time.process_time() - began) / len(work))
    return best * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    short = parser.parse_args().short
    random = Random(6)
    course = course_of(COURSE_POINTS, random)
    marks = [Mark(i, 5_000.0 * i, "split") for i in range(1, 31)]
    began = time.process_time()
    guide = Guide(course, marks)
    print(f"{len(course.points):,} points, {course.length:,.0f} m")
    print(f"guide built in {time.process_time() - began:.2f} s")

    runners = 100 if short else ENTRIES
    places = [random.uniform(500, COURSE_LENGTH_M - 2_000) for _ in range(runners)]
    states = [begun(guide, course, place, random) for place in places]

    def after(state: State, seconds: float) -> Fix:
        distance = (state.progress or 0.0) + 3 * seconds
        return fix_at(course, distance, state.t + round(seconds * 1000), random)

    def aside(state: State, seconds: float) -> Fix:
        fix = after(state, seconds)
        return fix._replace(lat=fix.lat + 300 / METRES_PER_DEGREE, accuracy=10.0)

    waiting = guide.begin(GUN_MS)
    cases = {
        "a second later": [(state, after(state, 1)) for state in states],
        "30 s later": [(state, after(state, 30)) for state in states],
        "after 10 min of silence": [(state, after(state, 600)) for state in states],
        "off the course": [(state, aside(state, 90)) for state in states],
        "not started, at home": [
            (waiting, Fix(GUN_MS + 60_000 + i, 45.3, 7.3)) for i in range(runners)
        ],
    }
    for name, work in cases.items():
        print(f"{name:26} {cost(guide, work, 3 if short else 5):6.1f} µs a fix")

    seconds = 5 if short else 20
    fixes = [
        [after(state, second) for state in states] for second in range(1, seconds + 1)
    ]
    began = time.process_time()
    for second in fixes:
        for index, fix in enumerate(second):
            states[index], _ = guide.advance(states[index], fix)
    spent = time.process_time() - began
    each = spent / seconds / runners
    print(
        f"{runners:,} entries at 1 Hz       {each * 1e6:6.1f} µs a fix, "
        f"{100 * each * ENTRIES:.1f} % of a core for {ENTRIES:,}"
    )
    began = time.process_time()
    for state in states:
        State.from_json(state.as_json())
    spent = (time.process_time() - began) / runners
    print(f"state to JSON and back     {spent * 1e6:6.1f} µs")
    missed = each * 1e6 > TARGET_US or each * ENTRIES > TARGET_CORE_SHARE
    print("TARGET MISSED" if missed else "within 60 µs a fix and 0.12 of a core")


if __name__ == "__main__":
    main()
