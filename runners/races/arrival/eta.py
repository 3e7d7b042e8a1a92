"""Predict when a runner passes a place, as a range that narrows as they approach.

The range is that of the pace to the place, given the average so far, the recent pace
and the coefficients learned from results (runners/races/arrival/pacing.py).

Slopes cost the energy measured by Minetti et al., "Energy cost of walking and running
at extreme uphill and downhill slopes", Journal of Applied Physiology 93 (2002). Runners
gain only a quarter of what downhill slopes would save, because they brake, because of
bad ground and out of caution. The share of the cost that a runner's pace shows is
learned from their run so far.

Pure functions without a database or a clock. Times are in seconds since the epoch,
distances in metres along the course.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from runners.races.arrival.pacing import Pace, Prior, pace_at, shipped
from runners.races.course import Course

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
# The earliest, middle and latest time.
Range = tuple[float, float, float]

# Runners have no arrival times before they have run this far, and for this time.
MIN_DISTANCE_M = 2_000.0
MIN_TIME_S = 300.0
# After this time without a fix on the course a runner may be anywhere.
SILENT_AFTER_S = 600.0
# Silent runners have a probable place between these times without a fix. Later it could
# be anywhere on a marathon.
PROBABLE_FROM_S = 120.0
PROBABLE_TO_S = 3_600.0
# A curve has a range per this share of the course ahead: 260 m of a marathon.
CURVE_STEPS = 160
# How long ago positions are sampled, besides splits. Enough samples to tell a wobble
# from a drift, and too few for walks and traffic lights to look like a drift.
RECENT_S = (0, 200, 400, 600, 800, 1000, 1500, 2000, 2500, 3000)
# Heights of phones and maps are noisy, so they are smoothed over several steps.
HEIGHT_STEP_M = 50.0
SMOOTHED_STEPS = 5
# The steepest slope measured by Minetti et al.
STEEPEST_MEASURED = 0.45
# The share of the slopes' cost that paces show, and its standard deviation.
SLOPES_SHOWN = 0.3
SLOPES_SPREAD = 0.25
# The standard deviation of the logarithm of the pace over 1 km for other reasons.
KILOMETRE_SPREAD = 0.05
# Shorter legs do not show the effect of slopes.
MIN_LEG_M = 300.0
# Runners who have not run far enough for a range are expected at this pace at the
# latest, in metres of flat ground per second: that of a slow walk.
WALKING_MPS = 1.0
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
# The runners whose latest arrival is kept: those of a large race, about 1 kB each.
RUNNERS_KEPT = 32_768


class Passed(NamedTuple):
    """A place that a runner has passed: seconds since the epoch, metres, seconds of
    doubt.
    """

    time: float
    distance: float
    doubt: float = 0.0


Status = Literal[
    "expected",
    "passed",
    "not_started",
    "too_early",
    "off_course",
    "silent",
    "finished",
    "dnf",
    "dns",
    "dsq",
]
ENDED: dict[str, Status] = {
    "finished": "finished",
    "dnf": "dnf",
    "dns": "dns",
    "dsq": "dsq",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One pass of a place. `at` is the middle of the range. All times are in seconds.

    If there is no range, `status` is the reason.
    """

    distance: float
    pass_number: int
    status: Status
    at: float | None = None
    earliest: float | None = None
    latest: float | None = None


class Probable(NamedTuple):
    """Where a silent runner is: the middle and the ends of the range in metres."""

    distance: float
    nearest: float
    farthest: float


class Slopes:
    """The extra length of a course due to its slopes, computed once per course."""

    def __init__(self, course: Course) -> None:
        known = [
            (distance, point[2])
            for distance, point in zip(course.distances, course.points, strict=True)
            if point[2] is not None
        ]
        self._build(course.length, known)

    @classmethod
    @lru_cache(maxsize=8)
    def flat(cls, length: float) -> Slopes:
        """Return the slopes of a flat course of a length in metres."""
        slopes = cls.__new__(cls)
        slopes._build(length, [])
        return slopes

    def _build(self, length: float, known: Sequence[tuple[float, float]]) -> None:
        self.length = length
        count = max(2, math.ceil(self.length / HEIGHT_STEP_M) + 1)
        self._marks: Floats = np.linspace(0, self.length, count)
        self._extra: Floats = np.zeros(count)
        if len(known) < 2:
            return
        heights = np.interp(self._marks, *np.array(known).T)
        padded = np.pad(heights, SMOOTHED_STEPS // 2, mode="edge")
        smooth = np.convolve(padded, np.ones(SMOOTHED_STEPS) / SMOOTHED_STEPS, "valid")
        steps = np.diff(self._marks)
        more = slope_cost(np.diff(smooth) / steps)
        self._extra[1:] = np.cumsum(more * steps)

    def extra(self, distances: Floats) -> Floats:
        """Return the extra metres of flat ground up to each distance."""
        return np.interp(distances, self._marks, self._extra)

    def effort(self, distances: Floats, shown: float | Floats) -> Floats:
        """Return the metres of flat ground that take as long as each distance.

        `shown` is the share of the slopes' cost that the runner's pace shows.
        """
        return np.asarray(distances + shown * self.extra(distances))


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
        known = [_forward(samples) for samples in asked]
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
            times[ahead, 1:] = _times_at(places[ahead, 1:], rows, slopes, prior)
        return [cls(*row) for row in zip(places, times.swapaxes(1, 2), strict=True)]

    def ranges(self, ahead: Sequence[float]) -> dict[float, Range]:
        """Return the earliest, middle and latest time at each distance ahead."""
        early, middle, late = (
            np.interp(ahead, self.distances, times).tolist() for times in self.times
        )
        return dict(zip(ahead, zip(early, middle, late, strict=True), strict=True))


def slope_cost(slope: Floats) -> Floats:
    """Return the extra cost of a slope (metres per metre) relative to flat ground."""
    i = np.clip(slope, -STEEPEST_MEASURED, STEEPEST_MEASURED)
    joules = 155.4 * i**5 - 30.4 * i**4 - 43.3 * i**3 + 46.3 * i**2 + 19.5 * i + 3.6
    more = joules / 3.6 - 1
    return np.where(more < 0, more / 4, more)


def arrivals(
    passes: Sequence[float],
    samples: Sequence[Passed],
    slopes: Slopes,
    *,
    now: float,
    prior: Prior | None = None,
    last_fix_at: float | None = None,
    status: str = "started",
    curve: Curve | None = None,
) -> list[Arrival]:
    """Return the arrival of a runner for each pass of a place.

    `samples`: passed places, oldest first, the first is the start. `prior`: learned
    coefficients, by default the shipped ones. `last_fix_at`: time of the phone's last
    fix. `status`: that of the entry. `curve`: computed from the same samples, for many
    places; without it the ranges of these passes are computed.

    If the last position comes from a mat, the status is "expected" until the range
    ends, then "silent".
    """
    known = _forward(samples)
    here = known[-1] if known else None
    is_old = here is not None and now - here.time > SILENT_AFTER_S
    # A mat has seen the runner after the phone, if there is one.
    by_mat = here is not None and (last_fix_at is None or here.time > last_fix_at)
    ahead = [d for d in passes if here is None or d > here.distance]
    why_not: Status | None = None
    if status in ENDED:
        why_not = ENDED[status]
    elif here is None or status == "registered":
        why_not = "not_started"
    elif is_old and not by_mat:
        lost = last_fix_at is None or now - last_fix_at > SILENT_AFTER_S
        why_not = "silent" if lost else "off_course"
    elif _is_early(known):
        why_not = "too_early"
    ranges: dict[float, Range] = {}
    if ahead and not why_not:
        ranges = (
            curve.ranges(ahead)
            if curve
            else _ranges(ahead, known, slopes, prior or shipped())
        )
    found = []
    for number, distance in enumerate(passes, start=1):
        if here is not None and distance <= here.distance:
            found.append(_passed(distance, number, _advances(samples)))
        elif why_not:
            found.append(Arrival(distance, number, why_not))
        else:
            if is_old and ranges[distance][-1] < now:
                found.append(Arrival(distance, number, "silent"))
                continue
            # An overdue runner is expected now, not in the past.
            early, middle, late = (max(now, t) for t in ranges[distance])
            found.append(Arrival(distance, number, "expected", middle, early, late))
    return found


def probable_place(
    samples: Sequence[Passed],
    slopes: Slopes,
    *,
    now: float,
    prior: Prior | None = None,
    last_fix_at: float | None = None,
    status: str = "started",
    curve: Curve | None = None,
) -> Probable | None:
    """Return where a silent runner probably is, or None if that is unknown.

    This is the inverse of `arrivals`: the runner is at the near end of the range if
    they arrive at the latest time everywhere, and at the far end if at the earliest.
    """
    known = _forward(samples)
    if status != "started" or len(known) < 2 or _is_early(known):
        return None
    here = known[-1]
    silence = now - max(here.time, last_fix_at or here.time)
    if silence < PROBABLE_FROM_S or now - here.time > PROBABLE_TO_S:
        return None
    if curve is None:
        (curve,) = Curve.of_many([samples], slopes, prior or shipped())
    far, middle, near = (
        float(np.interp(now, times, curve.distances)) for times in curve.times
    )
    return Probable(middle, near, far)


@lru_cache(maxsize=RUNNERS_KEPT)
def latest_arrival(
    distance: float, samples: tuple[Passed, ...], slopes: Slopes, *, prior: Prior
) -> float:
    """Return the late end of the range for a place ahead, even if it is over.

    Runners who have not run far enough for a range walk there. The result is kept,
    because it takes 0.5 ms and stays the same until the runner is seen again.
    """
    known = _forward(samples)
    if not _is_early(known):
        return _ranges([distance], known, slopes, prior)[distance][-1]
    here = known[-1]
    begin, end = slopes.effort(np.array([here.distance, distance]), 1.0)
    return float(here.time + (end - begin) / WALKING_MPS)


def is_predictable(samples: Sequence[Passed]) -> bool:
    """Return whether a runner has run far enough for a prediction."""
    return not _is_early(_forward(samples))


def _is_early(known: Sequence[Passed]) -> bool:
    """Return whether a runner has not run far enough for a prediction."""
    start, here = known[0], known[-1]
    time = here.time - start.time - start.doubt / 2
    return here.distance - start.distance < MIN_DISTANCE_M or time < MIN_TIME_S


def _forward(samples: Sequence[Passed]) -> list[Passed]:
    """Keep the last sample of each place, from which a standing runner runs on."""
    kept: list[Passed] = []
    for sample in samples:
        while len(kept) > 1 and sample.distance - kept[-1].distance < PLACE_ERROR_M:
            # A step back is noise, and a short step is standing.
            kept.pop()
        if not kept or sample.distance > kept[-1].distance:
            kept.append(sample)
    return kept


def _advances(samples: Sequence[Passed]) -> list[Passed]:
    """Keep the first sample of each place: a runner who stands there passed it then."""
    kept: list[Passed] = []
    for sample in samples:
        if not kept or sample.distance > kept[-1].distance:
            kept.append(sample)
    return kept


def _passed(distance: float, number: int, known: Sequence[Passed]) -> Arrival:
    """Interpolate the time when a place was passed. The range is the two samples."""
    if distance < known[0].distance:
        return Arrival(distance, number, "passed")
    after = next(n for n, sample in enumerate(known) if sample.distance >= distance)
    there = known[after]
    here = known[max(0, after - 1)] if there.distance > distance else there
    run = there.distance - here.distance
    part = (distance - here.distance) / run if run else 0.0
    at = here.time + part * (there.time - here.time)
    return Arrival(distance, number, "passed", at, here.time, there.time)


def _ranges(
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
    table = _times_at(places, known, slopes, prior)
    return [
        dict(zip(ahead, map(tuple, row), strict=False))
        for (ahead, _), row in zip(asked, table.tolist(), strict=True)
    ]


def _times_at(places: Floats, known: Floats, slopes: Slopes, prior: Prior) -> Floats:
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
    known = [(ahead, _forward(samples)) for ahead, samples in asked]
    paced = [runner for runner in known if not _is_early(runner[1])]
    found = iter(_ranges_of_many(paced, slopes, prior) if paced else ())
    return [
        _first_ranges(*runner) if _is_early(runner[1]) else next(found)
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
