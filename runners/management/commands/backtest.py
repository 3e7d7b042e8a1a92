from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runners.races.arrival.backtest import Answer, Score, play, scores
from runners.races.arrival.learning import FARTHEST_OFF, learn
from runners.races.arrival.pacing import Prior
from runners.races.arrival.ranges import MIN_DISTANCE_M, MIN_TIME_S
from runners.races.arrival.results import (
    MAX_BYTES,
    Results,
    ResultsError,
    read_results,
)
from runners.races.arrival.slopes import Slopes
from runners.races.course import Course
from runners.races.gpx_import import CourseError

DEFAULT_DISTANCES = "5000,10000,21097.5,30000"
HEADER = (
    *("asked at", "for", "n", "error", "median", "bias", "held", "width", "score"),
    *("average", "last 5 km", "Riegel"),
)


class Command(BaseCommand):
    help = (
        "Measure arrival times on the results of a race: replay its "
        "runners, request their arrival times on the way, and compare these "
        "with their splits. The header of RESULTS.csv has distances in "
        "metres, the last one is the finish; a row has the seconds of one "
        "runner since their own start at each of them. Needs no database."
    )
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("results", metavar="RESULTS.csv")
        parser.add_argument(
            "--course", metavar="FILE.gpx", help="for its heights; default: flat"
        )
        parser.add_argument(
            "--ask",
            metavar="METRES,…",
            help=f"the distances at which to request the times at all mats "
            f"ahead; default: {DEFAULT_DISTANCES}, in a short race those of its mats",
        )
        parser.add_argument(
            "--learn",
            metavar="OTHER.csv",
            nargs="+",
            action="extend",
            help="learn from these results instead of the default ones",
        )
        parser.add_argument(
            "--limit", type=int, metavar="N", help="as many rows, drawn by --seed"
        )
        parser.add_argument("--seed", type=int, default=0, metavar="S")
        parser.add_argument(
            "--wobble",
            type=float,
            default=0.0,
            metavar="SHARE",
            help="standard deviation of the pace between mats as a share of it, such "
            "as 0.04, correlated over 1 km; the splits stay as they are. Default: an "
            "even pace from mat to mat",
        )
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object per question"
        )
        parser.add_argument(
            "--out", metavar="FILE", help="write one JSON line per answer"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        results = _results(options["results"])
        distances = _read_distances(options["ask"], results)
        if not 0 <= options["wobble"] <= 0.5:
            raise CommandError("--wobble must be from 0 to 0.5.")
        if options["seed"] < 0:
            raise CommandError("--seed must be at least 0.")
        slopes = self._slopes(options["course"], results.length)
        rows = _drawn(len(results.times), options["limit"], options["seed"])
        prior = _learned(options["learn"])
        answers = play(
            results,
            slopes,
            distances,
            rows=rows,
            prior=prior,
            wobble=options["wobble"],
            seed=options["seed"],
        )
        with _written(options["out"]) as write:
            found = scores(_copied(answers, write))
        if options["json"]:
            for score in found:
                self.stdout.write(json.dumps(_as_json(score)))
        else:
            self.stdout.write("\n".join(_table(found)))
        self.stderr.write(
            f"Rows replayed: {len(rows)} of {len(results.times) + results.left_out}. "
            f"{results.incomplete} lack splits; {results.left_out} were left out, "
            "because their times do not increase or they have none. "
            f"{sum(score.n for score in found)} answers."
        )
        if not found:
            self.stderr.write(
                "A question needs the runner's time there and at a mat ahead, after "
                f"{MIN_DISTANCE_M:g} m and {MIN_TIME_S:g} s."
            )

    def _slopes(self, path: str | None, length: float) -> Slopes:
        if path is None:
            return Slopes.flat(length)
        try:
            course = Course.from_gpx(_read(path))
        except CourseError as error:
            raise CommandError(f"{path}: {error}") from error
        if abs(course.length / length - 1) > FARTHEST_OFF:
            self.stderr.write(
                f"{path} is {course.length:,.0f} m long and is stretched to "
                f"{length:,.0f} m, where the results end."
            )
        return Slopes(Course(course.points, length))


def _read(path: str) -> bytes:
    """Return the file, or as much of it as shows that it is too large."""
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror}.") from error


def _results(path: str) -> Results:
    try:
        return read_results(_read(path))
    except ResultsError as error:
        raise CommandError(f"{path}: {error}") from error


def _learned(paths: Sequence[str] | None) -> Prior | None:
    if not paths:
        return None
    races = [_results(path) for path in paths]
    try:
        return learn(races, ", ".join(Path(path).stem for path in paths))
    except ResultsError as error:
        raise CommandError(f"--learn: {error}") from error


def _read_distances(text: str | None, results: Results) -> list[float]:
    """Return the distances of the list that the race has."""
    if text is None:
        usual = [float(part) for part in DEFAULT_DISTANCES.split(",")]
        on_course = [distance for distance in usual if distance < results.length]
        return on_course or results.distances[:-1].tolist()
    try:
        distances = sorted({float(part) for part in text.split(",")})
    except ValueError:
        distances = []
    if not distances or not all(distance > 0 for distance in distances):
        raise CommandError(
            f"--ask {text!r} is not a list of metres. Write it like "
            f"{DEFAULT_DISTANCES}."
        )
    on_course = [distance for distance in distances if distance < results.length]
    if not on_course:
        raise CommandError(
            f"--ask {text!r}: the finish is at {results.length:g} m. Use smaller ones."
        )
    return on_course


def _drawn(count: int, limit: int | None, seed: int) -> list[int]:
    """Return the rows to replay, at most the limit, in their order."""
    if limit is not None and limit < 1:
        raise CommandError("--limit must be at least 1.")
    if limit is None or limit >= count:
        return list(range(count))
    drawn = np.random.default_rng(seed).choice(count, limit, replace=False)
    return sorted(drawn.tolist())


@contextmanager
def _written(path: str | None) -> Iterator[Any]:
    """Yield a function that writes a line to the file, if there is one."""
    if path is None:
        yield lambda line: None
        return
    try:
        with Path(path).open("w", encoding="utf-8") as file:
            yield lambda line: file.write(f"{line}\n")
    except OSError as error:
        raise CommandError(f"Cannot write {path}: {error.strerror}.") from error


def _copied(
    answers: Iterable[Answer], write: Callable[[str], object]
) -> Iterator[Answer]:
    """Yield the answers, after writing a line for each."""
    for answer in answers:
        write(_line(answer))
        yield answer


def _line(answer: Answer) -> str:
    return json.dumps(
        {
            "row": answer.row,
            "asked_at": _number(answer.asked_at),
            "for": _number(answer.place),
            "at_s": round(answer.at, 1),
            "low_s": round(answer.low, 1),
            "high_s": round(answer.high, 1),
        }
    )


def _as_json(score: Score) -> dict[str, float]:
    """Return the scores of a question, with `for` and `at` as place names."""
    figures = asdict(score)
    asked_at, place = figures.pop("asked_at"), figures.pop("place")
    return {
        "asked_at": _number(asked_at),
        "for": _number(place),
        **{name: round(figure, 4) for name, figure in figures.items()},
    }


def _number(metres: float) -> float:
    return int(metres) if metres.is_integer() else metres


def _table(found: Sequence[Score]) -> list[str]:
    """Return the table's lines, in Markdown; errors in minutes."""
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for score in found:
        minutes = [f"{figure / 60:.1f}" for figure in (
            *(score.mae_s, score.median_s, score.bias_s, score.width_s),
            *(score.score_s, score.naive_mae_s, score.last_mae_s, score.riegel_mae_s),
        )]  # fmt: skip
        cells = [
            f"{score.asked_at / 1000:g} km",
            f"{score.place / 1000:g} km",
            str(score.n),
            *minutes[:3],
            f"{score.held:.0%}",
            *minutes[3:],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
