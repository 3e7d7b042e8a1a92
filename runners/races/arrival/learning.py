"""Learn the change of pace in the course of a race from results.

Both the middle and the ends of the range are quantile regressions (Koenker and Bassett,
"Regression quantiles", Econometrica 46, 1978) by iteratively reweighted least squares,
shrunk towards the previous coefficients. Those of the ends are of the logarithm of the
errors of held-out runners, to either side. They are then scaled to cover the wanted
share of them: conformal prediction with normalised residuals (Lei et al.,
"Distribution-free predictive inference for regression", JASA 113, 2018). With several
races each one in turn is held out, with one race, one half of its runners.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from runners.races.arrival.pacing import (
    SAME_LENGTH,
    TERMS,
    Floats,
    Pace,
    Prior,
    pace_at,
    pacing_terms,
    shipped,
    spread_terms,
)
from runners.races.arrival.ranges import SLOPES_SHOWN
from runners.races.arrival.results import Results, ResultsError
from runners.races.arrival.slopes import Slopes

# The quantile of the middle. The median is early on average, since bad races are slower
# by more than good ones are faster. This is a compromise with the mean.
MIDDLE = 0.55
# Each half of the range holds this share, so the range holds 80 %.
HELD = 0.8
# More runners of one race add little information, and fewer are too few.
MOST_RUNNERS = 2_000
FEWEST_RUNNERS = 50
# The weight of the previous coefficients, in shares of the answers, times the number of
# runners. In the middle it is the variance of y over that of a coefficient between
# races.
WEIGHT = 0.36
LEAST_WEIGHT = 1e-4
SPREAD_WEIGHT = 1.0
ROUNDS = 25
# Logarithms of pace below which errors count as equal, and of errors.
SMALL = 0.003
SMALL_RATIO = 0.05
# Errors to the other side are less than the end of the range, like this one.
SMALLEST_ERROR = 0.001
# `Prior.between` if only one race was learned from. Races differ in their ends: in two
# marathons, each asked with what the other one taught, it has to grow like this.
BETWEEN_RACES = 0.07
# Past results of a course end within this share of its length.
FARTHEST_OFF = 0.05
# The power of the pace with which ranges grow at the start of a race. It is less within
# a race, but a slower field differs more from a faster one: this has the best coverage
# in a race not learned from.
SPREAD_BY_LEVEL = 3.0
LEVEL = 4
# Without results, runners keep their recent pace: y is a mean of the recent paces.
KEPT = (0.7, 0.0, 0.0, 0.3, 0.0, 0.0)
NOTHING = Prior(
    middle=(*(0.0,) * (TERMS["middle"] - len(KEPT)), *KEPT),
    early=(-3.0, *(0.0,) * (TERMS["early"] - 1)),
    late=(-3.0, *(0.0,) * (TERMS["late"] - 1)),
    length=42_195.0,
)


class Lessons(NamedTuple):
    """The data to learn from, one row per prediction."""

    middle: Floats
    spread: Floats
    y: Floats
    # Weights of the errors in the middle, by the seconds that each is worth, and in the
    # spread. The weights of each race have the same sum.
    weight: Floats
    share: Floats
    # The race, or the half of its runners.
    fold: Floats


def learn(
    races: Sequence[Results],
    source: str,
    *,
    before: Prior = NOTHING,
    seed: int = 0,
) -> Prior:
    """Learn from the results of races of about the same length.

    `before` is the prior of coefficients that the results do not determine. Its weight
    decreases with the number of runners. Raises ResultsError if there are too few, or
    if the lengths differ.
    """
    runners = sum(len(_complete(race)) for race in races)
    if runners < FEWEST_RUNNERS:
        raise ResultsError(
            f"{runners} rows have all splits. At least {FEWEST_RUNNERS} are needed."
        )
    lengths = sorted(race.length for race in races)
    if math.log(lengths[-1] / lengths[0]) > SAME_LENGTH:
        raise ResultsError(
            f"One race is {lengths[0]:,.0f} m long, and one {lengths[-1]:,.0f} m. "
            "Learn from races of about the same length."
        )
    weight = max(LEAST_WEIGHT, WEIGHT / runners)
    length = sum(lengths) / len(races)
    before = replace(before.for_length(length), length=length, ignored=0.0, wobble=0.0)
    dice = np.random.default_rng(seed)
    by_race = [_lessons_of_race(race, dice) for race in races]
    if len(races) > 1:
        by_race = [
            lessons._replace(fold=np.full_like(lessons.fold, number))
            for number, lessons in enumerate(by_race)
        ]
    lessons = _joined(by_race)
    middle = _middle(lessons, before, weight)
    error = _errors_held_out(lessons, before, weight)
    return replace(
        before,
        middle=_rounded(middle),
        early=_spread(lessons, -error, before.early, SPREAD_WEIGHT / runners),
        late=_spread(lessons, error, before.late, SPREAD_WEIGHT / runners),
        between=BETWEEN_RACES if len(races) == 1 else 0.0,
        source=source,
        runners=runners,
        learned=datetime.now(UTC).date().isoformat(),
    )


def learn_past(results: Results, source: str, slopes: Slopes) -> Prior:
    """Learn from earlier results of the same course; raise ResultsError."""
    distances = results.distances * (slopes.length / results.length)
    if abs(slopes.length / results.length - 1) > FARTHEST_OFF:
        raise ResultsError(
            f"The results end at {results.length:,.0f} m, and the course is "
            f"{slopes.length:,.0f} m long. Give results of this distance."
        )
    on_flat = replace(results, distances=slopes.effort(distances, SLOPES_SHOWN))
    learned = learn([on_flat], source, before=shipped())
    return replace(learned, length=slopes.length)


def _complete(race: Results) -> Floats:
    """Return the times of the runners who have all splits."""
    return np.asarray(race.times[~np.isnan(race.times).any(axis=1)])


def _lessons_of_race(race: Results, dice: np.random.Generator) -> Lessons:
    """Return the data for each mat and all mats that follow it."""
    times = _complete(race)
    if len(times) > MOST_RUNNERS:
        times = times[dice.choice(len(times), MOST_RUNNERS, replace=False)]
    marks = np.append(0.0, race.distances)
    known = np.column_stack([np.zeros(len(times)), times])
    asked = [
        _lessons_at(here, race.length, marks, known)
        for here in race.distances[:-1].tolist()
    ]
    lessons = _joined(asked)
    return lessons._replace(
        weight=lessons.weight / lessons.weight.sum(),
        share=np.full_like(lessons.y, 1 / len(lessons.y)),
    )


def _lessons_at(here: float, length: float, marks: Floats, times: Floats) -> Lessons:
    pace = pace_at(here, length, marks, times)
    now = times[:, marks == here]
    ahead = marks > here
    run = marks[ahead] - here
    average = now / here
    place = np.broadcast_to(marks[ahead] / length, (len(times), len(run)))
    columns = Pace(*(np.broadcast_to(part[:, None], place.shape) for part in pace))
    half = np.arange(len(times))[:, None] % 2 + np.zeros(place.shape)
    return Lessons(
        middle=_rows(pacing_terms(columns, place)),
        spread=_rows(spread_terms(columns, place)),
        y=np.log((times[:, ahead] - now) / (run * average)).ravel(),
        weight=(run * average).ravel(),
        share=np.ones(place.size),
        fold=half.ravel(),
    )


def _rows(terms: Floats) -> Floats:
    return np.asarray(terms.reshape(-1, terms.shape[-1]))


def _joined(parts: Sequence[Lessons]) -> Lessons:
    return Lessons(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _errors_held_out(lessons: Lessons, before: Prior, weight: float) -> Floats:
    """Return the errors of y where each fold is predicted from the others."""
    error = np.empty_like(lessons.y)
    for fold in np.unique(lessons.fold):
        held_out = lessons.fold == fold
        others = Lessons(*(column[~held_out] for column in lessons))
        middle = _middle(others, before, weight)
        error[held_out] = lessons.y[held_out] - lessons.middle[held_out] @ middle
    return error


def _middle(lessons: Lessons, before: Prior, weight: float) -> Floats:
    """Return the coefficients of the middle."""
    known = np.array(before.middle)
    off = lessons.y - lessons.middle @ known
    return np.asarray(
        known + _regression(lessons.middle, off, lessons.weight, MIDDLE, SMALL, weight)
    )


def _spread(
    lessons: Lessons, error: Floats, before: Sequence[float], weight: float
) -> tuple[float, ...]:
    """Return the coefficients of the half of the range towards positive errors."""
    level = lessons.spread[:, LEVEL] * SPREAD_BY_LEVEL
    terms = np.delete(lessons.spread, LEVEL, axis=1)
    known = np.delete(before, LEVEL)
    quantile = (1 + HELD) / 2
    size = np.log(np.maximum(error, SMALLEST_ERROR)) - level - terms @ known
    found = known + _regression(
        terms, size, lessons.share, quantile, SMALL_RATIO, weight
    )
    scaled = error / np.exp(terms @ found + level)
    found[0] += math.log(_quantile(scaled, lessons.share, quantile))
    return _rounded(np.insert(found, LEVEL, SPREAD_BY_LEVEL))


def _regression(
    terms: Floats,
    y: Floats,
    share: Floats,
    quantile: float,
    small: float,
    weight: float,
) -> Floats:
    """Return the coefficients of a quantile of y, shrunk towards 0.

    Errors of less than `small` count as equal.
    """
    share = share / share.sum()
    size = share
    found = np.zeros(terms.shape[1])
    for _ in range(ROUNDS):
        weighted = terms.T * size
        drawn = weight * size.sum() * np.eye(len(found))
        found = np.linalg.solve(weighted @ terms + drawn, weighted @ y)
        error = y - terms @ found
        side = np.where(error > 0, quantile, 1 - quantile)
        size = share * side / np.maximum(np.abs(error), small)
    return found


def _rounded(coefficients: Floats) -> tuple[float, ...]:
    return tuple(np.round(coefficients, 4).tolist())


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(below, share)])
