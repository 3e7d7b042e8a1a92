"""Runs on short and real courses, on which all progress has to be right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from bench.truth.courses import (
    LAPS,
    REAL_COURSES,
    SHORT_COURSES,
    course_of,
    guide_of,
)
from bench.truth.runs import (
    SIGMAS_M,
    Fix,
    Recording,
    TrueRun,
    dead_zones,
    record,
    run_of,
)
from runners.races.progress import Guide

# The longest silence. One of more than half a lap leaves the lap unknown.
SILENT_S = 480.0
AFTER_S = 300


@dataclass(frozen=True)
class Sample:
    """A run, and its fixes without those that arrive late."""

    guide: Guide
    run: TrueRun
    recording: Recording
    live: Recording

    @property
    def fixes(self) -> list[Fix]:
        return self.recording.fixes


def sample(kind: str, seed: int, every: int | None = None) -> Sample:
    """Return a run that depends only on the kind of course and the seed."""
    random = Random(f"{kind} {seed}")
    origin = random.uniform(-55, 60), random.uniform(-180, 180)
    places = (SHORT_COURSES | REAL_COURSES)[kind](random)
    course = course_of(places, origin)
    run = run_of(places, course, random, "none", after_s=AFTER_S)
    run.origin = origin
    longest = min(SILENT_S, course.length / LAPS.get(kind, 1.0) / 2 / run.pace)
    recording = record(
        run,
        places,
        every or random.choice((1, 1, 2, 5, 10, 20)),
        "plain",
        random,
        sigma=SIGMAS_M["plain"][seed % 5],
        longest=longest,
    )
    late = list(dead_zones(random, len(run.xs), longest))
    on_time = [
        fix
        for fix in recording.fixes
        if not any(low <= run.index(fix.t) <= high for low, high in late)
    ]
    guide = guide_of(course, 1_000 if course.length < 20_000 else 5_000)
    return Sample(guide, run, recording, replace(recording, fixes=on_time))
