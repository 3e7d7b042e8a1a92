"""Compare predicted arrivals of a finished race with its results.

The run of each runner in the results is simulated from mat to mat. At each given
distance the predictor behind eta.json gets the server's knowledge of that moment: the
start, the splits so far and the progress of the last minutes. Its predictions for the
mats ahead are compared with the splits, and with those of three simple rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runners.races.arrival.eta import Known, arrivals
from runners.races.arrival.pacing import Prior, shipped
from runners.races.arrival.ranges import RECENT_S, Passed
from runners.races.arrival.results import Results
from runners.races.arrival.slopes import Slopes

Floats = npt.NDArray[np.float64]

# The correlation length of a wobbling pace, and the resolution.
WOBBLE_LENGTH_M = 1_000.0
WOBBLE_STEP_M = 100.0
# The distance over which the rule measures the recent pace.
RECENT_LENGTH_M = 5_000.0
# The exponent of Riegel, "Athletic records and human endurance", American Scientist 69
# (1981).
RIEGEL = 1.06
# The share of arrivals outside the range, for the interval score of Gneiting and
# Raftery, "Strictly proper scoring rules, prediction, and estimation", JASA 102 (2007).
LEFT_OUT = 0.2


class Answer(NamedTuple):
    """One prediction and the true time, in seconds since the runner's start."""

    row: int
    asked_at: float
    place: float
    at: float
    low: float
    high: float
    truth: float
    naive: float
    last: float
    riegel: float


@dataclass(frozen=True, slots=True)
class Score:
    """The accuracy of the answers to one question; `*_s` are in seconds."""

    asked_at: float
    place: float
    n: int
    mae_s: float
    median_s: float
    bias_s: float
    held: float
    width_s: float
    score_s: float
    naive_mae_s: float
    last_mae_s: float
    riegel_mae_s: float


@dataclass(frozen=True)
class Run:
    """A run: seconds since the start at ascending distances in metres, from 0 on."""

    distances: Floats
    times: Floats

    def time_at(self, distance: float) -> float:
        """Return the time at which the runner reached a distance, in seconds."""
        return float(np.interp(distance, self.distances, self.times))

    def place_at(self, time: float) -> float:
        """Return the distance along the course in metres at `time` (seconds)."""
        return float(np.interp(time, self.times, self.distances))


def run_between(
    mats: Floats, times: Floats, wobble: float, dice: np.random.Generator
) -> Run:
    """Run from mat to mat with the given times, at a pace that wobbles in between.

    The logarithm of the pace is an Ornstein-Uhlenbeck process over the distance with a
    standard deviation of `wobble` and a correlation length of 1 km; each leg is then
    stretched to the time between its mats. 0 is an even pace within each leg.
    """
    edges, known = np.append(0.0, mats), np.append(0.0, times)
    if not wobble:
        return Run(edges, known)
    steps = int(np.ceil(edges[-1] / WOBBLE_STEP_M)) + 1
    fine = np.linspace(0, edges[-1], steps + 1)
    wobbles = _correlated(dice.standard_normal(steps).tolist())
    pace = np.exp(wobble * np.array(wobbles))
    raw = np.append(0.0, np.cumsum(pace * np.diff(fine)))
    marks = np.union1d(fine, edges)
    at = np.interp(marks, fine, raw)
    leg = np.clip(np.searchsorted(edges, marks, "right") - 1, 0, len(edges) - 2)
    ends = np.interp(edges, fine, raw)
    part = (at - ends[leg]) / (ends[leg + 1] - ends[leg])
    return Run(marks, known[leg] + part * (known[leg + 1] - known[leg]))


def _correlated(noise: list[float]) -> list[float]:
    """Return a stationary process with a memory from independent normal values."""
    kept = math.exp(-WOBBLE_STEP_M / WOBBLE_LENGTH_M)
    fresh = math.sqrt(1 - kept * kept)
    return list(accumulate(noise, lambda value, step: kept * value + fresh * step))


def samples_at(run: Run, mats: Floats, distance: float) -> list[Passed]:
    """Return the server's knowledge when the runner is at a distance."""
    now = run.time_at(distance)
    splits = [Passed(run.time_at(d), d) for d in mats.tolist() if d <= distance]
    recent = [
        Passed(now - ago, run.place_at(now - ago)) for ago in RECENT_S if now - ago > 0
    ]
    return sorted({Passed(0.0, 0.0), *splits, *recent})


def play(
    results: Results,
    slopes: Slopes,
    asked: Sequence[float],
    *,
    rows: Sequence[int] | None = None,
    prior: Prior | None = None,
    wobble: float = 0.0,
    seed: int = 0,
) -> Iterator[Answer]:
    """Yield the answers at each requested distance, for all mats ahead.

    `rows` are indices into `results.times`, all by default. A question is omitted if
    its split, or that of the mat at which it is asked, is missing, or if eta.json would
    respond `too_early`.
    """
    chosen = range(len(results.times)) if rows is None else rows
    prior = prior or shipped()
    for n in chosen:
        row, times = int(results.rows[n]), results.times[n]
        there = ~np.isnan(times)
        mats, known = results.distances[there], times[there]
        run = run_between(mats, known, wobble, np.random.default_rng([seed, row]))
        absent = set(results.distances[~there].tolist())
        for distance in asked:
            if distance < mats[-1] and distance not in absent:
                yield from _answers(row, run, mats, distance, slopes, prior)


def _answers(
    row: int,
    run: Run,
    mats: Floats,
    here: float,
    slopes: Slopes,
    prior: Prior,
) -> Iterator[Answer]:
    now = run.time_at(here)
    ahead = mats[mats > here].tolist()
    pace = now / here
    back = min(here, RECENT_LENGTH_M)
    recent = (now - run.time_at(here - back)) / back
    known = Known(samples_at(run, mats, here), slopes, prior, now)
    for place, arrival in zip(ahead, arrivals(ahead, known), strict=True):
        if arrival.at is None or arrival.earliest is None or arrival.latest is None:
            continue
        yield Answer(
            row=row,
            asked_at=here,
            place=place,
            at=arrival.at,
            low=arrival.earliest,
            high=arrival.latest,
            truth=run.time_at(place),
            naive=place * pace,
            last=now + (place - here) * recent,
            riegel=now * (place / here) ** RIEGEL,
        )


def scores(answers: Iterable[Answer]) -> list[Score]:
    """Return the accuracy of the answers to each question, in the order asked.

    A large marathon has a million answers, so they are not kept as objects.
    """
    fields = len(Answer._fields)
    table = np.fromiter(chain.from_iterable(answers), float).reshape(-1, fields)
    questions = np.unique(table[:, 1:3], axis=0).tolist()
    return [
        _score(table[(table[:, 1] == here) & (table[:, 2] == place)])
        for here, place in questions
    ]


def _score(answers: Floats) -> Score:
    _, here, place, at, low, high, truth, naive, last, riegel = answers.T
    error = np.abs(at - truth)
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return Score(
        asked_at=float(here[0]),
        place=float(place[0]),
        n=len(answers),
        mae_s=float(error.mean()),
        median_s=float(np.median(error)),
        bias_s=float((at - truth).mean()),
        held=float((outside == 0).mean()),
        width_s=float((high - low).mean()),
        score_s=float((high - low + 2 / LEFT_OUT * outside).mean()),
        naive_mae_s=float(np.abs(naive - truth).mean()),
        last_mae_s=float(np.abs(last - truth).mean()),
        riegel_mae_s=float(np.abs(riegel - truth).mean()),
    )
