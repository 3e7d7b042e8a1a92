"""Measure the accuracy of arrival times in races that were not learned from.

    python -m bench.arrival RESULTS.csv OTHER.csv … [--rows 1000] [--wobble 0.04]
    python -m bench.arrival --learn RESULTS.csv … > runners/races/arrival/prior.json

Learns from each of the races in turn and predicts arrivals in the others. If
scikit-learn is installed, compares with boosted trees that learned from the same
results (one HistGradientBoostingRegressor per quantile). Then simulates steady runs of
5 to 20 km. Prints a table in Markdown, where errors are shares of those of the average
pace.

`--learn` prints the coefficients learned from all of the races, for the project.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from runners.races.arrival.backtest import Answer, play, run_between
from runners.races.arrival.learning import learn
from runners.races.arrival.pacing import Floats, Prior, pace_at
from runners.races.arrival.results import Results, read_results
from runners.races.arrival.slopes import Slopes

ASKED_AT_M = (5_000.0, 10_000.0, 21_097.5, 30_000.0)
QUANTILES = (0.5, 0.1, 0.9)
STEADY_LENGTHS_M = (5_000.0, 10_000.0, 20_000.0)
# Rows of a race that the trees learn from.
RUNNER_LIMIT = 4_000
HEADER = (
    *("learned from", "asked in", "by", "n", "error", "bias", "held", "least", "most"),
    *("width", "score"),
)

# Columns: at, low, high, truth, naive, asked at and place.
Table = Floats


def spectate(
    results: Results, rows: Sequence[int], prior: Prior, wobble: float
) -> Table:
    """Predict with this project."""
    slopes = Slopes.flat(results.length)
    return np.array(
        [
            _columns(answer)
            for answer in play(
                results, slopes, ASKED_AT_M, rows=rows, prior=prior, wobble=wobble
            )
        ]
    )


def _columns(a: Answer) -> tuple[float, ...]:
    return a.at, a.low, a.high, a.truth, a.naive, a.asked_at, a.place


def trees(learned: Results, results: Results, rows: Sequence[int]) -> Table | None:
    """Predict with boosted trees from the same figures, or return None without
    scikit-learn.
    """
    try:
        from sklearn.ensemble import (  # type: ignore[import-not-found]
            HistGradientBoostingRegressor,
        )
    except ImportError:
        return None
    terms, y, _ = _questions(learned, range(min(RUNNER_LIMIT, len(learned.times))))
    asked, _, answers = _questions(results, rows)
    for column, quantile in enumerate(QUANTILES):
        model = HistGradientBoostingRegressor(
            loss="quantile", quantile=quantile, max_iter=150, min_samples_leaf=100
        )
        found = np.exp(model.fit(terms, y).predict(asked))
        _, _, _, _, naive, here, place = answers.T
        average = naive / place
        answers[:, column] = average * (here + found * (place - here))
    return answers


def _questions(results: Results, rows: Sequence[int]) -> tuple[Floats, Floats, Table]:
    """Return the trees' inputs, their targets, and answers to be filled in."""
    chosen = results.times[rows]
    times = np.column_stack([np.zeros(len(rows)), chosen])
    marks = np.append(0.0, results.distances)
    terms, ys, answers = [], [], []
    for here in ASKED_AT_M:
        pace = pace_at(here, results.length, marks, times)
        now = [np.interp(here, marks, row) for row in times]
        for column, place in enumerate(results.distances.tolist()):
            if place > here:
                naive = np.array(now) * place / here
                truth = chosen[:, column]
                known = np.array([pace.level, pace.recent, pace.half])
                where = np.full((len(rows), 2), (here, place))
                terms.append(np.column_stack([known.T, where]))
                left = naive * (1 - here / place)
                ys.append(np.log((truth - now) / left))
                zeros = np.zeros((len(rows), 3))
                answers.append(np.column_stack([zeros, truth, naive, where]))
    return np.vstack(terms), np.concatenate(ys), np.vstack(answers)


def figures(table: Table) -> list[str]:
    """Return the cells of one line of the table."""
    at, low, high, truth, naive, asked, place = table.T
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    error = np.abs(at - truth).mean()
    held = [
        (outside[(asked == here) & (place == there)] == 0).mean()
        for here, there in set(zip(asked.tolist(), place.tolist(), strict=True))
    ]
    return [
        str(len(table)),
        f"{error / np.abs(naive - truth).mean():.3f}",
        f"{(at - truth).mean() / error:+.2f}",
        f"{(outside == 0).mean():.1%}",
        f"{min(held):.0%}",
        f"{max(held):.0%}",
        f"{(high - low).mean():.0f} s",
        f"{(high - low + 10 * outside).mean():.0f} s",
    ]


def compare(races: dict[str, Results], rows: int, wobble: float) -> Iterator[list[str]]:
    """Yield the lines of all pairs of races."""
    dice = np.random.default_rng(1)
    for learned, of in races.items():
        prior = learn([of], learned)
        for asked, results in races.items():
            if asked == learned:
                continue
            drawn = dice.permutation(len(results.times))[:rows].tolist()
            cells = [learned, asked]
            found = spectate(results, drawn, prior, wobble)
            yield [*cells, "spectate", *figures(found)]
            other = trees(of, results, drawn)
            if other is not None:
                yield [*cells, "trees", *figures(other)]


def steady(length: float, runners: int, wobble: float, seed: int = 1) -> Results:
    """Simulate runners whose pace only wobbles, with a mat every kilometre."""
    dice = np.random.default_rng(seed)
    mats = np.arange(1_000.0, length + 1, 1_000.0)
    finish = np.array([length])
    times = []
    for pace in dice.uniform(0.2, 0.42, runners):
        run = run_between(finish, finish * pace, wobble, dice)
        times.append([run.time_at(mat) for mat in mats])
    return Results(mats, np.array(times), np.arange(runners))


def steady_ratio(length: float, runners: int, wobble: float) -> float:
    """Return the error in steady runs as a share of that of the average pace."""
    results = steady(length, runners, wobble)
    asked = [share * length for share in (0.4, 0.5, 0.6, 0.7, 0.8)]
    found = list(play(results, Slopes.flat(length), asked))
    ours = sum(abs(a.at - a.truth) for a in found)
    return ours / sum(abs(a.naive - a.truth) for a in found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--wobble", type=float, default=0.0)
    options = parser.parse_args()
    races = {path.stem: read_results(path.read_bytes()) for path in options.results}
    if options.learn:
        prior = learn(list(races.values()), ", ".join(races))
        print(json.dumps(prior.as_json(), indent=1))
        return
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for cells in compare(races, options.rows, options.wobble):
        print(f"| {' | '.join(cells)} |", flush=True)
    for length in STEADY_LENGTHS_M:
        for wobble in (0.01, 0.04):
            ratio = steady_ratio(length, options.rows // 5, wobble)
            print(f"steady, {length / 1000:g} km, wobble {wobble:.0%}: {ratio:.3f}")


if __name__ == "__main__":
    main()
