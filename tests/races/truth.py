"""Compare progress and splits with simulated runs whose truth is known.

    python -m tests.races.truth             some runs of each kind
    python -m tests.races.truth --long      200 courses, and realistic ones

The table has a row for each kind of course, and one for the results before late fixes
arrived ("live"). "within": progress within max(15 m, 3 sigma); "p99" and "worst": of
the errors, as a fraction of that limit and in metres; "far": over 100 m more than the
limit, such as a different lap; "unknown": fixes whose progress is unknown, or has a
standard deviation of over 100 m. A split is within if its error is at most the time
between the fixes around it plus 3 sigma at the runner's speed.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left
from dataclasses import dataclass, field
from random import Random

from runners.races.progress import Guide, Replay
from tests import courses
from tests.races.runs import GUN, NOISES_M, Fix, Run, marks_of, run_of, sample
from tests.races.shapes import KINDS

# The number of laps, for courses with laps.
REAL_LAPS = {"five_laps": 5}


# With a larger standard deviation a progress counts as unknown.
UNSURE_M = 100.0


@dataclass
class Score:
    """Results of runs, compared with the truth."""

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
        for fix, (progress, uncertainty), held in zip(
            fixes, replay.shown, replay.held, strict=True
        ):
            true = run.distance_at(fix.t)
            if not 0 < true < run.course.length or fix.t in run.wrong:
                continue
            self.fixes += 1
            self.held += held
            if progress is None or (uncertainty or 0.0) > UNSURE_M:
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
            # The runner's speed between the two fixes.
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
    """Return whether enough fixes follow a position to detect its pass."""
    true = GUN + (run.time_at(distance) + 20) * 1000
    return len(times) - bisect_left(times, true) >= 3


HEADER = (
    f"{'':32} {'runs':>4} {'fixes':>8} {'within':>10} {'p99':>6} {'worst m':>8}"
    f" {'far':>6} {'unknown':>8} {'splits within':>13} {'missed':>5} {'false':>5}"
    f" {'early':>5} {'none':>5}"
)


def live(run: Run) -> tuple[Replay, list[Fix]]:
    """Return the replay without late fixes, and its fixes."""
    fixes = [fix for fix in run.fixes if fix.t not in run.late]
    return run.guide.replay(GUN, fixes), fixes


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


def real(name: courses.Name, runners: range, *, table: dict[str, Score]) -> None:
    """Score runners on a realistic course."""
    course = courses.course(name)
    guide = Guide(course, marks_of(course))
    for seed in runners:
        random = Random(f"{name} {seed}")
        sigma, interval = NOISES_M[seed % len(NOISES_M)], (1, 5, 10, 20)[seed % 4]
        run = run_of(
            course,
            random,
            sigma=sigma,
            interval=interval,
            lap=course.length / REAL_LAPS[name] if name in REAL_LAPS else None,
            guide=guide,
        )
        score_run(name, run, table, f"{name} {seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--notes", action="store_true", help="print what failed")
    parser.add_argument("--kind", choices=KINDS)
    # The constants of progress were chosen on seeds 0 to 24, and for folds on 1000 to
    # 1024 and 3000 to 3024. Use different ones.
    parser.add_argument("--first", type=int, default=0, help="seed to begin with")
    options = parser.parse_args()
    table: dict[str, Score] = {}
    for kind in [options.kind] if options.kind else KINDS:
        seeds = range(options.first, options.first + (25 if options.long else 5))
        scores(kind, seeds, table=table)
    if options.long and not options.kind:
        for course in courses.NAMES:
            real(course, range(10), table=table)
    print(HEADER)
    for name, score in table.items():
        print(f"{name:32} {score.row()}")
        if options.notes:
            print(*score.notes, sep="\n")


if __name__ == "__main__":
    main()
