"""When does she pass here: the time at a place still ahead, as a range that narrows.

The time T(d) at which a runner is d metres along the course is taken for a Gaussian
process, and what is known of it (the start, splits, the last minutes) conditions it:
kriging with explicit basis functions (Rasmussen and Williams, "Gaussian processes for
machine learning", 2006, section 2.7). The basis is the runner's level, how much of the
course's slopes their pace shows, and a trend; around it the pace wobbles (an
Ornstein-Uhlenbeck process) and drifts (Brownian motion). So the recent pace counts by
as much as it tells more than the average since the start does, and no more.

Slopes cost what running on them costs: Minetti et al., "Energy cost of walking and
running at extreme uphill and downhill slopes", Journal of Applied Physiology 93 (2002).
Downhill half of what that would save is gained: brakes and bad ground.

Pure functions: no database, no clock. Times are seconds since the epoch, distances
metres along the course.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from runners.races.course import Course

Floats = npt.NDArray[np.float64]

# Metres run, and seconds, before anything is said.
LEAST_DISTANCE, LEAST_TIME = 2_000.0, 300.0
# After so long without one on the course a runner may be anywhere. Seconds.
SILENT = 600.0
# How long ago it is worth to know where a runner was, beside splits: enough to tell a
# wobble from a drift, too few for walks and traffic lights to look like one. Seconds.
RECENT = (0, 200, 400, 600, 800, 1000, 1500, 2000, 2500, 3000)
# The range holds the arrival four times in five: what is as likely earlier and later.
RANGE = (0.1, 0.9)

# Heights are read every STEP metres and smoothed over SMOOTH steps: those of phones
# and maps jump.
STEP, SMOOTH = 50.0, 5
# The slopes measured by Minetti et al.
STEEPEST = 0.45

# What is believed of a runner before they run, in shares of their average pace. They
# are of one of several kinds, weighted by how well each explains what was seen; the
# figures are those with which bench/arrival.py found the errors small and the ranges
# right for all kinds of runs at once.
LEVEL_SPREAD = 0.5
# How much of the slopes' cost a pace shows, its spread, and the spread from hill to
# hill: those on whom slopes do not show, and those on whom they do.
SLOPES = ((0.0, 0.02, 0.0), (0.7, 0.35, 0.15))
# What the whole course adds to a pace, its spread, and the spread of the pace's drift
# after 10 km: those who keep theirs, and those who do not, of whom most fade.
FADES = ((0.0, 0.0, 0.0), (0.3, 0.2, 0.03))
# How many fade for one who does not, before anything is known of them.
FADING = 0.2
# Who will hit a wall shows nothing of it before, and about a quarter do (Smyth, "How
# recreational marathon runners hit the wall", PLoS ONE 16, 2021): from one of these
# parts of the course on, by one of these shares of their pace. So the late end of the
# range is later than what has been seen says, until those parts are behind.
WALL, WALL_FROM, WALL_SLOWER = 0.25, (0.5, 0.6, 0.7, 0.8), (0.15, 0.35)
# The wobble around it, and how far off a place is for stops and walks. Metres.
WOBBLES = ((0.01, 12), (0.02, 12), (0.04, 12), (0.08, 12), (0.08, 80), (0.16, 80))
# Over how many metres a good stretch lasts, and a hill.
STRETCH, HILL = 1_200.0, 1_000.0
# Nobody is back at a place by running; phones say so. Metres.
PLACE_ERROR = 12.0

# Standard deviations at which a distribution is looked at.
GRID = np.array([-3, -2, -1.4, -1, -0.6, -0.3, 0, 0.3, 0.6, 1, 1.4, 2, 3])


class Passed(NamedTuple):
    """A runner was here: seconds since the epoch, metres, and seconds of doubt."""

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
]
ENDED: dict[str, Status] = {"finished": "finished", "dnf": "dnf", "dns": "dns"}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One pass of a place. `at` is the middle of the range, all times are seconds.

    Without a range `status` says why: not known when she passed, or not yet.
    """

    distance: float
    pass_number: int
    status: Status
    at: float | None = None
    earliest: float | None = None
    latest: float | None = None


class Slopes:
    """What the slopes of a course add to its length, for the legs. Built once."""

    def __init__(self, course: Course) -> None:
        self.length = course.length
        known = [
            (distance, point[2])
            for distance, point in zip(course.distances, course.points, strict=True)
            if point[2] is not None
        ]
        count = max(2, math.ceil(self.length / STEP) + 1)
        self._marks: Floats = np.linspace(0, self.length, count)
        self._extra: Floats = np.zeros(count)
        self._hills: Floats = np.zeros(count)
        if len(known) < 2:
            return
        heights = np.interp(self._marks, *np.array(known).T)
        padded = np.pad(heights, SMOOTH // 2, mode="edge")
        smooth = np.convolve(padded, np.ones(SMOOTH) / SMOOTH, "valid")
        steps = np.diff(self._marks)
        more = slope_cost(np.diff(smooth) / steps)
        self._extra[1:] = np.cumsum(more * steps)
        self._hills[1:] = np.cumsum(np.abs(more) * steps)

    def extra(self, distances: Floats) -> Floats:
        """Return by how many metres of flat ground the way there is longer."""
        return np.interp(distances, self._marks, self._extra)

    def hills(self, distances: Floats) -> Floats:
        """Return the same with what is longer and what is shorter added up."""
        return np.interp(distances, self._marks, self._hills)


def slope_cost(slope: Floats) -> Floats:
    """Return by how much a slope (metres a metre) makes running slower, flat = 0."""
    i = np.clip(slope, -STEEPEST, STEEPEST)
    joules = 155.4 * i**5 - 30.4 * i**4 - 43.3 * i**3 + 46.3 * i**2 + 19.5 * i + 3.6
    more = joules / 3.6 - 1
    return np.where(more < 0, more / 2, more)


def arrivals(
    passes: Sequence[float],
    samples: Sequence[Passed],
    slopes: Slopes,
    *,
    now: float,
    heard: float | None = None,
    status: str = "started",
) -> list[Arrival]:
    """Say of each pass of a place when the runner is there.

    `samples`: what is known of the runner, oldest first, the start the first of it;
    `heard`: when their phone last sent anything; `status`: the entry's.
    """
    known = _forward(samples)
    here = known[-1] if known else None
    ahead = [d for d in passes if here is None or d > here.distance]
    why_not: Status | None = None
    if status in ENDED:
        why_not = ENDED[status]
    elif here is None or status == "registered":
        why_not = "not_started"
    elif now - here.time > SILENT:
        lost = heard is None or now - heard > SILENT
        why_not = "silent" if lost else "off_course"
    elif (
        here.distance - known[0].distance < LEAST_DISTANCE
        or here.time - known[0].time < LEAST_TIME
    ):
        why_not = "too_early"
    ranges = {} if why_not or not ahead else _ranges(ahead, known, slopes)
    found = []
    for number, distance in enumerate(passes, start=1):
        if here is not None and distance <= here.distance:
            found.append(_passed(distance, number, known))
        elif why_not:
            found.append(Arrival(distance, number, why_not))
        else:
            # Who is due is due now, not in the past.
            early, middle, late = (max(now, t) for t in ranges[distance])
            found.append(Arrival(distance, number, "expected", middle, early, late))
    return found


def _forward(samples: Sequence[Passed]) -> list[Passed]:
    """Keep one sample a place, the last: who stands still goes on from then."""
    kept: list[Passed] = []
    for sample in samples:
        while len(kept) > 1 and sample.distance - kept[-1].distance < PLACE_ERROR:
            # Back, by the noise of the phone, or on the spot.
            kept.pop()
        if not kept or sample.distance > kept[-1].distance:
            kept.append(sample)
    return kept


def _passed(distance: float, number: int, known: Sequence[Passed]) -> Arrival:
    """Tell when a place was passed, between what is known on both sides of it."""
    if distance < known[0].distance:
        return Arrival(distance, number, "passed")
    after = next(n for n, sample in enumerate(known) if sample.distance >= distance)
    there = known[after]
    here = known[max(0, after - 1)] if there.distance > distance else there
    run = there.distance - here.distance
    part = (distance - here.distance) / run if run else 0.0
    at = here.time + part * (there.time - here.time)
    return Arrival(distance, number, "passed", at, here.time, there.time)


# Each kind's figures, in columns.
_KINDS: Floats = np.array(
    [
        [*slope, *fade, *wobble]
        for slope, fade, wobble in product(SLOPES, FADES, WOBBLES)
    ]
)
_SHARE, _SHARE_SPREAD, _HILLS, _FADE, _FADE_SPREAD, _DRIFT, _WOBBLE, _JITTER = _KINDS.T
_PRIOR: Floats = np.log(np.where(_FADE > 0, FADING, 1.0))


def _ranges(
    ahead: Sequence[float], known: Sequence[Passed], slopes: Slopes
) -> dict[float, tuple[float, float, float]]:
    """Return the earliest, middle and latest time at each distance."""
    start, *seen = known
    last = seen[-1]
    # The doubt is the width of an even distribution, of the start's behind its time.
    started = start.time + start.doubt / 2
    pace = (last.time - started) / (last.distance - start.distance)
    # All in metres: distances from the start, and times at the average pace. First
    # what is known, then what is asked.
    count = len(seen)
    at = np.array([sample.distance for sample in seen] + list(ahead))
    where = at - start.distance
    extra = slopes.extra(at) - slopes.extra(np.array([start.distance]))
    hills = slopes.hills(at) - slopes.hills(np.array([start.distance]))
    grown = where**2 / (2 * slopes.length)
    times = np.array([sample.time - started for sample in seen]) / pace
    doubts = np.array([start.doubt, *[sample.doubt for sample in seen]]) / pace

    # Of each kind: what is expected, and how far what happens differs from it.
    mean = where + np.outer(_SHARE, extra) + np.outer(_FADE, grown)
    topic_name = (
        doubts[0] ** 2 / 12
        + LEVEL_SPREAD**2 * np.outer(where, where)
        + _each(_SHARE_SPREAD) * np.outer(extra, extra)
        + _each(_HILLS) * HILL * np.minimum(hills[:, None], hills)
        + _each(_FADE_SPREAD) * np.outer(grown, grown)
        + _each(_DRIFT) * _drift(where)
        + _each(_WOBBLE) * _wobble(where)
    )
    error = _JITTER[:, None] ** 2 + doubts[1:] ** 2 / 12
    inner = topic_name[:, :count, :count] + error[:, None] * np.eye(count)
    outer = topic_name[:, count:, :count]
    off = times - mean[:, :count]
    told = np.linalg.solve(
        inner, np.concatenate([off[:, :, None], outer.transpose(0, 2, 1)], axis=2)
    )
    means = mean[:, count:] + np.einsum("kij,kj->ki", outer, told[:, :, 0])
    variances = np.einsum("kii->ki", topic_name)[:, count:] - np.einsum(
        "kij,kji->ki", outer, told[:, :, 1:]
    )
    evidence = _PRIOR - 0.5 * (
        np.einsum("ki,ki->k", off, told[:, :, 0]) + np.linalg.slogdet(inner)[1]
    )
    weight = np.exp(evidence - evidence.max())
    weight /= weight.sum()
    spreads = np.sqrt(np.maximum(variances, 1.0))
    found = {}
    for n, distance in enumerate(ahead):
        walls = _walls(last.distance, distance, slopes.length)
        three = started + pace * _quantiles(weight, means[:, n], spreads[:, n], walls)
        early, middle, late = np.maximum(last.time, three).tolist()
        found[distance] = early, middle, late
    return found


def _each(spread: Floats) -> Floats:
    """Return the variance of each kind, to be multiplied with matrices."""
    return np.asarray(spread[:, None, None] ** 2)


def _walls(here: float, there: float, length: float) -> Floats:
    """Return how many metres more the way there is for who hits each of the walls."""
    after = [
        there - part * length if here < part * length < there else 0.0
        for part in WALL_FROM
    ]
    return np.outer(WALL_SLOWER, after).ravel()


def _quantiles(weight: Floats, mean: Floats, spread: Floats, walls: Floats) -> Floats:
    """Return RANGE's ends, and the middle, of a mixture of normal distributions.

    The late end is that of a mixture in which some hit a wall.
    """
    grid = np.sort(mean + GRID[:, None] * spread, axis=None)
    z = (grid[:, None] - mean) / spread
    # The normal distribution to 0.0003.
    below = (0.5 + 0.5 * np.tanh(0.79788456 * (z + 0.044715 * z**3))) @ weight
    early, middle, late = np.interp([RANGE[0], 0.5, RANGE[1]], below, grid)
    if walls.any():
        later = np.concatenate([grid, grid + walls.max()])
        later.sort()
        hit = np.interp(later[:, None] - walls, grid, below, left=0, right=1)
        told = np.interp(later, grid, below, left=0, right=1)
        some = (1 - WALL) * told + WALL * hit.mean(axis=1)
        late = np.interp(RANGE[1], some, later)
    return np.array([early, middle, late])


def _wobble(where: Floats) -> Floats:
    """Covariance of the integral of an Ornstein-Uhlenbeck process from 0."""
    s, t = where[:, None] / STRETCH, where[None, :] / STRETCH
    both = 2 * np.minimum(s, t) - 1 + np.exp(-s) + np.exp(-t) - np.exp(-np.abs(s - t))
    return STRETCH**2 * both


def _drift(where: Floats) -> Floats:
    """Covariance of the integral of Brownian motion from 0."""
    s, t = where[:, None], where[None, :]
    less, more = np.minimum(s, t), np.maximum(s, t)
    return np.asarray(less**2 * (3 * more - less) / 60_000)
