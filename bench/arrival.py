"""How well the time of arrival is told, against the naive average since the start.

    python -m bench.arrival [--runners 300] [--seed 1]

Runners are simulated on two real courses (tests/courses) by another model than
the one that predicts: slopes cost each of them something else, by one of two rules, and
no kind is told which it is. Prints, for each course and kind,
the median error of both ways at 10, 20 and 30 km ahead, and how often the range held
the arrival.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runners.races.course import Course
from runners.races.eta import RECENT, Passed, Slopes, arrivals
from tests import courses

COURSES: tuple[courses.Name, ...] = ("boston", "leadville")
KINDS = ("even pace", "even effort", "fading", "wall", "walks")
AHEAD = (10_000, 20_000, 30_000)
CELL = 25.0  # Metres.
SPLITS = 5_000  # Metres between them.
GPS = 6.0  # Metres of noise along the course.

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A run: seconds since the start at each cell's edge."""

    marks: Floats
    times: Floats

    def at(self, distance: float) -> float:
        return float(np.interp(distance, self.marks, self.times))

    def where(self, time: float) -> float:
        return float(np.interp(time, self.times, self.marks))


def simulate(course: Course, kind: str, dice: np.random.Generator) -> Run:
    """Run the course once."""
    edges = np.linspace(0, course.length, round(course.length / CELL) + 1)
    heights = np.interp(edges, course.distances, [p[2] or 0.0 for p in course.points])
    width = 9
    heights = np.convolve(np.pad(heights, width // 2, mode="edge"), np.ones(width))
    slope = np.diff(heights[width - 1 : 1 - width] / width) / np.diff(edges)
    far = course.length > 60_000
    pace = dice.uniform(0.36, 0.65) if far else dice.uniform(0.2, 0.42)
    cost = np.ones_like(slope)
    if kind != "even pace":
        cost = _hills(slope, dice)
    part = edges[:-1] / course.length
    if kind == "fading":
        begins = dice.uniform(0, 0.15)
        cost *= 1 + dice.uniform(0.1, 0.5) * np.clip(part - begins, 0, None)
    elif kind == "wall":
        cost *= np.where(part > dice.uniform(0.45, 0.8), dice.uniform(1.1, 1.4), 1)
    # A good stretch and a bad one, of about a kilometre.
    keep = np.exp(-CELL / 1_000)
    steps = dice.normal(0, dice.uniform(0.01, 0.05) * np.sqrt(1 - keep**2), len(part))
    wobble = np.empty_like(steps)
    level = 0.0
    for n, step in enumerate(steps):
        level = keep * level + step
        wobble[n] = level
    seconds = pace * cost * (1 + wobble) * np.diff(edges)
    if kind == "walks":
        # A fifth of the time at half the pace, and a pause at some aid stations.
        period = dice.uniform(120, 600)
        walking = (np.cumsum(seconds) % period) > 0.8 * period
        seconds = np.where(walking, seconds * 2, seconds)
        for stop in np.arange(5_000, course.length, 5_000):
            if dice.random() < 0.5:
                pause = dice.exponential(300 if far else 45)
                seconds[int(stop / CELL)] += pause
    return Run(edges, np.concatenate([[0], np.cumsum(seconds)]))


def _hills(slope: Floats, dice: np.random.Generator) -> Floats:
    """Slow a runner on slopes, by one of two rules and each by their own share."""
    share = dice.uniform(0.7, 1.3)
    per_cent = 100 * slope
    if dice.random() < 0.5:
        # Daniels' rule of thumb: 12 to 15 s per mile up, 8 down, for each per cent;
        # downhill there is no more to gain from 8 % on.
        more = np.where(
            per_cent > 0, 0.034 * per_cent, 0.018 * np.maximum(per_cent, -8)
        )
        more += np.where(per_cent < -15, 0.02 * (-15 - per_cent), 0)
    else:
        # Tobler's hiking function (1993), with a runner's best slope of -5 %.
        more = np.exp(3.5 * np.abs(slope + 0.05)) / np.exp(3.5 * 0.05) - 1
    return np.asarray(np.maximum(0.5, 1 + share * more))


def seen_of(run: Run, now: float, dice: np.random.Generator) -> list[Passed]:
    """Return what the server knows of a run at a time."""
    here = run.where(now)
    samples = [Passed(0.0, 0.0)]
    for split in range(SPLITS, int(here), SPLITS):
        samples.append(Passed(run.at(split) + dice.normal(0, 2), split, 5))
    for ago in RECENT:
        if now - ago > 0:
            place = run.where(now - ago) + dice.normal(0, GPS)
            samples.append(Passed(now - ago, max(0.0, place)))
    return sorted(samples)


def errors(
    course: Course, slopes: Slopes, run: Run, dice: np.random.Generator
) -> Iterator[tuple[int, float, float, bool, float]]:
    """Yield (ahead, our error, naive error, held, width), in seconds."""
    far = course.length > 60_000
    asked = range(5_000, int(course.length) - 9_000, 15_000 if far else 4_000)
    for here in asked:
        now = run.at(here)
        places = [here + ahead for ahead in AHEAD if here + ahead <= course.length]
        samples = seen_of(run, now, dice)
        for place, found in zip(
            places, arrivals(places, samples, slopes, now=now), strict=True
        ):
            truth = run.at(place)
            naive = now * place / here
            assert found.at and found.earliest and found.latest, found
            yield (
                place - here,
                abs(found.at - truth),
                abs(naive - truth),
                found.earliest <= truth <= found.latest,
                found.latest - found.earliest,
            )


class Cell(NamedTuple):
    """The median errors in seconds, how often the range held, and its width in s."""

    ours: float
    naive: float
    held: float
    width: float

    @property
    def ratio(self) -> float:
        return self.ours / self.naive


def score(name: courses.Name, runners: int, seed: int) -> dict[tuple[str, int], Cell]:
    """Return the results on a course by kind of run and metres ahead."""
    course = courses.course(name)
    slopes = Slopes(course)
    cells = {}
    for kind in KINDS:
        dice = np.random.default_rng(seed)
        runs = [simulate(course, kind, dice) for _ in range(runners)]
        rows = np.array(
            [row for run in runs for row in errors(course, slopes, run, dice)]
        )
        for ahead in AHEAD:
            of = rows[rows[:, 0] == ahead]
            ours, naive, _, width = np.median(of[:, 1:], axis=0)
            cells[kind, ahead] = Cell(ours, naive, of[:, 3].mean(), width)
    return cells


def table(runners: int, seed: int) -> list[str]:
    """Return the table's lines, in Markdown."""
    lines = [
        "| course | runners | ahead | error | naive | ratio | in range | range |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in COURSES:
        for (kind, ahead), cell in score(name, runners, seed).items():
            lines.append(
                f"| {name} | {kind} | {ahead // 1000} km | {cell.ours / 60:.1f} min "
                f"| {cell.naive / 60:.1f} min | {cell.ratio:.2f} "
                f"| {cell.held:.0%} | {cell.width / 60:.0f} min |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runners", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("\n".join(table(options.runners, options.seed)))


if __name__ == "__main__":
    main()
