"""Compare the progress of simulated runners with their true progress.

    python -m bench.truth [--family judging] [--runs 10] [--cars 60] [--people 5]
                          [--notes]
    python -m bench.truth --family plain    the short and real courses of the tests

Phones send every 1 s, 5 s, 30 s, 2 min and 10 min, for the same runs. The constants of
progress were chosen on the seeds and the noise of the family "tuning". The family
"judging" is for published figures: its seeds and kinds of noise were not used before.
"within" is the share of all fixes within max(15 m, 3 sigma of the noise), and the rows
below have the same for three baselines. "far" counts how often a runner is shown over
500 m from the truth, and the row below it how often the stated uncertainty does not
cover that. Runners astray are found after three times, which are the quartiles.

A second table has people who stand at the start and never run, start late, or walk.
Splits of those who stand are false ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from random import Random

from bench.truth.baselines import Flat, hidden_markov, nearest, windowed
from bench.truth.courses import (
    COURSES,
    REAL_COURSES,
    SHORT_COURSES,
    course_of,
    guide_of,
)
from bench.truth.runs import EVENTS, GUN_MS, PEOPLE, record, run_of
from bench.truth.samples import sample
from bench.truth.score import Score

INTERVALS_S = (1, 5, 30, 120, 600)
# The seed of a run is its number plus this.
FIRST_SEED = {"tuning": 0, "judging": 5_000, "plain": 0}
# One in this many runs is followed at 1 Hz, because these cost the most.
EVERY_SECOND = 4


def measure(
    table: dict[int, Score],
    kind: str,
    seed: int,
    family: str,
    intervals: Sequence[int],
    *,
    event: str = "",
    rivals: bool = True,
) -> None:
    """Add a run to the table. `event` is chosen at random unless it is given."""
    if family == "plain":
        for every in intervals:
            taken = sample(kind, seed, every)
            table.setdefault(every, Score()).add(
                taken.run, taken.recording, taken.guide, {}, f"{kind} {seed} {every} s"
            )
        return
    name = f"{kind} {seed} {family} {event}"
    random = Random(name)
    places = COURSES[kind](random)
    course = course_of(places)
    event = event or random.choice(EVENTS)
    if kind == "track" and event in ("skip", "detour"):
        # A missing lap would not be detectable.
        event = "none"
    run = run_of(places, course, random, event)
    guide, flat = guide_of(course), Flat(course)
    for every in intervals:
        dice = Random(f"{name} {every}")
        recording = record(run, places, every, family, dice)
        fixes = recording.fixes
        others = {}
        if rivals and event != "car":
            others = {
                "nearest": nearest(flat, fixes),
                "windowed": windowed(flat, fixes, GUN_MS),
                "HMM": hidden_markov(flat, fixes, GUN_MS, recording.sigma),
            }
        table.setdefault(every, Score()).add(
            run, recording, guide, others, f"{kind} {seed} {event} {every} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=FIRST_SEED, default="judging")
    parser.add_argument("--runs", type=int, default=6, help="per course")
    parser.add_argument("--cars", type=int, default=6, help="per course")
    parser.add_argument(
        "--people", type=int, default=0, help="of each of three other kinds, per course"
    )
    parser.add_argument("--kind", help="of course")
    parser.add_argument("--every", type=int, choices=INTERVALS_S)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--notes", action="store_true", help="print what failed")
    options = parser.parse_args()
    table: dict[int, Score] = {}
    others: dict[int, Score] = {}
    first = FIRST_SEED[options.family] + options.first
    began = time.process_time()
    kinds = COURSES
    if options.family == "plain":
        kinds, options.cars, options.people = SHORT_COURSES | REAL_COURSES, 0, 0
    if options.kind and options.kind not in kinds:
        parser.error(f"--kind of this family: {'; '.join(kinds)}")
    for kind in [options.kind] if options.kind else kinds:
        most = max(options.runs, options.cars, options.people)
        for seed in range(first, first + most):
            wanted = [
                every
                for every in ([options.every] if options.every else INTERVALS_S)
                if every > 1 or seed % EVERY_SECOND == 0 or options.every == 1
            ]
            counts = {"": options.runs, "car": options.cars}
            counts |= dict.fromkeys(PEOPLE, options.people)
            for event, count in counts.items():
                # There are no car rides on a track.
                if seed < first + count and (event, kind) != ("car", "track"):
                    measure(
                        others if event in PEOPLE else table,
                        *(kind, seed, options.family, wanted),
                        event=event,
                        rivals=not options.no_baselines,
                    )
    for scores in (table, others):
        if scores:
            show(scores)
        if options.notes:
            for score in scores.values():
                print(*score.notes, sep="\n")
    print(f"{time.process_time() - began:.0f} s of CPU")


def show(table: dict[int, Score]) -> None:
    columns = [table[every].row() for every in sorted(table)]
    print(f"{'':24}" + "".join(f"{f'{every} s':>22}" for every in sorted(table)))
    for name in columns[0]:
        print(
            f"{name:24}" + "".join(f"{column.get(name, ''):>22}" for column in columns)
        )


if __name__ == "__main__":
    main()
