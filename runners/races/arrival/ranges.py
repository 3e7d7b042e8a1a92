"""When a runner passes the places ahead, as ranges that narrow as they approach.

The range is that of the pace to the place, given the average so far, the recent pace
and the coefficients learned from results (`pacing`). The share of the cost of slopes
that a runner's pace shows is learned from their run so far.

Pure functions without a database or a clock. Times are in seconds since the epoch,
distances in metres along the course.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from runners.races.arrival.pacing import Pace, Prior, pace_at
from runners.races.arrival.slopes import Floats, Slopes

logger = logging.getLogger(__name__)

# The earliest, middle and latest time.
Range = tuple[float, float, float]

# Runners have no arrival times before they have run this far, and for this time.
MIN_DISTANCE_M = 2_000.0
MIN_TIME_S = 300.0
# A curve has a range per this share of the course ahead: 260 m of a marathon.
CURVE_STEPS = 160
# How long ago positions are sampled, besides splits. Enough samples to tell a wobble
# from a drift, and too few for walks and traffic lights to look like a drift.
RECENT_S = (0, 200, 400, 600, 800, 1000, 1500, 2000, 2500, 3000)
# The share of the slopes' cost that paces show, and its standard deviation.
SLOPES_SHOWN = 0.3
SLOPES_SPREAD = 0.25
# The standard deviation of the logarithm of the pace over 1 km for other reasons.
KILOMETRE_SPREAD = 0.05
# Shorter legs do not show the effect of slopes.
MIN_LEG_M = 300.0
# A shorter way back is an error of the phone.
PLACE_ERROR_M = 12.0
# The paces of runners of whom no pace is known yet: 80 % of a marathon's field run
# between 4:00 and 7:30 per km. In seconds per metre.
FIRST_PACES = (0.24, 0.33, 0.45)
# No race takes this long: a later time, or none, is an error of the prediction.
LONGEST_S = 1e7
# A doubt is the width of a uniform distribution. This share of it is added to half the
# range, which holds 80 % of arrivals.
DOUBT_SHARE = 0.4


class Passed(NamedTuple):
    """A place that a runner has passed: seconds since the epoch, metres, seconds of
    doubt.
    """

    time: float
    distance: float
    doubt: float = 0.0


class Curve:
    """The ranges of a runner at all places ahead, by interpolation.

    Computing them takes as long as for one place, and they stay the same until the
    runner is seen again. Only for runners who have run far enough for a range.
    """

    def __init__(self, distances: Floats, times: Floats) -> None:
        self.distances = distances
        # The earliest, middle and latest times at the distances.
        self.times = times

    @classmethod
    def of_many(
        cls, asked: Sequence[Sequence[Passed]], slopes: Slopes, prior: Prior
    ) -> list[Curve]:
        """Return the curves of runners, by their samples.

        Computing many at once costs a tenth of one after the other.
        """
        known = [forward(samples) for samples in asked]
        here = [own[-1] for own in known]
        places = np.linspace(
            [passed.distance for passed in here],
            slopes.length,
            CURVE_STEPS + 1,
            axis=-1,
        )
        times = np.empty((len(asked), CURVE_STEPS + 1, 3))
        times[:] = np.array([passed.time for passed in here])[:, None, None]
        # The finish may be the last place already: its range is its time.
        ahead = [n for n, passed in enumerate(here) if passed.distance < slopes.length]
        if ahead:
            rows = _rows([known[n] for n in ahead])
            times[ahead] = times_at(places[ahead], rows, slopes, prior)
        return [cls(*row) for row in zip(places, times.swapaxes(1, 2), strict=True)]

    def ranges(self, ahead: Sequence[float]) -> dict[float, Range]:
        """Return the earliest, middle and latest time at each distance ahead."""
        early, middle, late = (
            np.interp(ahead, self.distances, times).tolist() for times in self.times
        )
        return dict(zip(ahead, zip(early, middle, late, strict=True), strict=True))


def is_predictable(samples: Sequence[Passed]) -> bool:
    """Return whether a runner has run far enough for a prediction."""
    return not is_early(forward(samples))


def ranges_ahead(
    asked: Sequence[tuple[Sequence[float], Sequence[Passed]]],
    slopes: Slopes,
    prior: Prior,
) -> list[dict[float, Range]]:
    """Return the earliest, middle and latest time for each distance ahead, per runner.

    `asked`: distances and samples of runners. Computing many at once costs a tenth of
    one after the other. Before a runner's pace is known, the times are those of most
    runners.
    """
    known = [(ahead, forward(samples)) for ahead, samples in asked]
    paced = [runner for runner in known if not is_early(runner[1])]
    found = iter(_ranges_of_many(paced, slopes, prior) if paced else ())
    return [
        _first_ranges(*runner) if is_early(runner[1]) else next(found)
        for runner in known
    ]


def _first_ranges(
    ahead: Sequence[float], known: Sequence[Passed]
) -> dict[float, Range]:
    here = known[-1]
    early, middle, late = (
        [here.time + pace * (distance - here.distance) for distance in ahead]
        for pace in FIRST_PACES
    )
    return dict(zip(ahead, zip(early, middle, late, strict=True), strict=True))


def is_early(known: Sequence[Passed]) -> bool:
    """Return whether a runner has not run far enough for a prediction."""
    start, here = known[0], known[-1]
    time = here.time - start.time - start.doubt / 2
    return here.distance - start.distance < MIN_DISTANCE_M or time < MIN_TIME_S


def forward(samples: Sequence[Passed]) -> list[Passed]:
    """Keep the last sample of each place, from which a standing runner runs on."""
    kept: list[Passed] = []
    for sample in samples:
        while len(kept) > 1 and sample.distance - kept[-1].distance < PLACE_ERROR_M:
            # A step back is noise, and a short step is standing.
            kept.pop()
        if not kept or sample.distance > kept[-1].distance:
            kept.append(sample)
    return kept


def ranges_of(
    ahead: Sequence[float], known: Sequence[Passed], slopes: Slopes, prior: Prior
) -> dict[float, Range]:
    """Return the earliest, middle and latest time for each distance, in ascending
    order.
    """
    (ranges,) = _ranges_of_many([(ahead, known)], slopes, prior)
    return ranges


def _ranges_of_many(
    asked: Sequence[tuple[Sequence[float], Sequence[Passed]]],
    slopes: Slopes,
    prior: Prior,
) -> list[dict[float, Range]]:
    """Return the ranges of several runners, each with some distances ahead."""
    places = _rows([ahead for ahead, _ in asked])
    known = _rows([samples for _, samples in asked])
    table = times_at(places, known, slopes, prior)
    return [
        dict(zip(ahead, map(tuple, row), strict=False))
        for (ahead, _), row in zip(asked, table.tolist(), strict=True)
    ]


def times_at(places: Floats, known: Floats, slopes: Slopes, prior: Prior) -> Floats:
    """Return the earliest, middle and latest times at places; axes: runner, place, 3.

    `places` and `known` have a row per runner, filled up with its last value. Times
    that are not finite are logged, and are those of most runners instead: an error of
    one runner must not reach the pages of all.
    """
    start, last = known[:, 0], known[:, -1]
    times, distances = known[..., 0], known[..., 1]
    extra = slopes.extra(distances)
    shown = np.array(
        [_shown(*row) for row in zip(times, distances, extra, strict=True)]
    )
    # Metres of flat ground from the start, and seconds since the start.
    begin = distances[:, 0] + shown * extra[:, 0]
    whole = np.full((len(known), 1), slopes.length)
    marks, there, length = (
        slopes.effort(metres, shown[:, None]) - begin[:, None]
        for metres in (distances, places, whole)
    )
    here = marks[:, -1:]
    times = times - (start[:, :1] + start[:, 2:] / 2)
    times[:, 0] = 0.0
    pace = pace_at(here[:, 0], length[:, 0], marks, times)
    pace = Pace(*(field[:, None] for field in pace))
    left = (there - here) * times[:, -1:] / here
    ratios = prior.for_length(slopes.length).predict(pace, there / length)
    early, middle, late = (left * np.exp(ratio) for ratio in ratios)
    # The doubt of the start affects the average pace, that of the last place the
    # present.
    doubt = DOUBT_SHARE * np.hypot(start[:, 2:] * (there / here - 1), last[:, 2:])
    early = np.maximum(middle - np.hypot(middle - early, doubt), 0.0)
    late = middle + np.hypot(late - middle, doubt)
    # A place cannot be reached before those on the way to it.
    table = np.maximum.accumulate(np.stack([early, middle, late], axis=-1), axis=1)
    failed = ~(np.abs(table) < LONGEST_S).all(axis=(1, 2))
    if failed.any():
        logger.error(
            "The arrival times of %d runners failed; the samples of the first are %s",
            np.count_nonzero(failed),
            known[failed][0].tolist(),
        )
        left = (places - distances[:, -1:])[failed]
        table[failed] = np.multiply.outer(left, FIRST_PACES)
    table += last[:, :1, None]
    return np.asarray(table)


def _rows(lists: Sequence[Sequence[Any]]) -> Floats:
    """Return an array with a list per row, filled up with its last value."""
    longest = max(map(len, lists))
    return np.array([[*own, *[own[-1]] * (longest - len(own))] for own in lists])


def _shown(times: Floats, distances: Floats, extra: Floats) -> float:
    """Return the share of the slopes' cost that a runner's pace shows.

    A linear regression of the pace of each leg, shrunk towards SLOPES_SHOWN. In plain
    Python: a runner has a few legs.
    """
    rows = zip(times.tolist(), distances.tolist(), extra.tolist(), strict=True)
    before = next(rows)
    legs = []
    for row in rows:
        if (run := row[1] - before[1]) >= MIN_LEG_M:
            pace = math.log(max(row[0] - before[0], 1.0) / run)
            legs.append((run, (row[2] - before[2]) / run, pace))
            before = row
    if len(legs) < 2:
        return SLOPES_SHOWN
    mean = sum(run * cost for run, cost, _ in legs) / sum(run for run, _, _ in legs)
    seen = found = 0.0
    for run, cost, pace in legs:
        weight = run / 1000 / KILOMETRE_SPREAD**2 * (cost - mean)
        seen += weight * (cost - mean)
        found += weight * pace
    drawn = 1 / SLOPES_SPREAD**2
    # Beyond these limits rests or slow legs explain the pace, and steep ground ahead
    # would take a negative time.
    return min(max((found + drawn * SLOPES_SHOWN) / (seen + drawn), 0.0), 1.0)
