"""When does she pass here: the time at a place still ahead, as a range that narrows.

The range is that of the pace from here on, given the average so far, the recent pace
and what was learned from results: runners/races/arrival/pacing.py.

Slopes cost what running on them costs: Minetti et al., "Energy cost of walking and
running at extreme uphill and downhill slopes", Journal of Applied Physiology 93 (2002).
Downhill runners gain a quarter of what that would save: brakes, bad ground, caution.
How much of it a runner's pace shows is learned from what they have run.

Pure functions: no database, no clock. Times are seconds since the epoch, distances
metres along the course.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from runners.races.arrival.pacing import Prior, pace_at, shipped
from runners.races.course import Course

Floats = npt.NDArray[np.float64]

# Metres run, and seconds, before anything is said.
LEAST_DISTANCE, LEAST_TIME = 2_000.0, 300.0
# After so long without one on the course a runner may be anywhere. Seconds.
SILENT = 600.0
# How long ago it is worth to know where a runner was, beside splits: enough to tell a
# wobble from a drift, too few for walks and traffic lights to look like one. Seconds.
RECENT = (0, 200, 400, 600, 800, 1000, 1500, 2000, 2500, 3000)
# Heights are read every STEP metres and smoothed over SMOOTH steps: those of phones
# and maps jump.
STEP, SMOOTH = 50.0, 5
# The slopes measured by Minetti et al.
STEEPEST = 0.45

# The share of the slopes' cost that paces show, its spread among runners, and the
# spread of the pace of a kilometre (as a logarithm) for other reasons.
SLOPES_SHOWN, SLOPES_SPREAD, KILOMETRE_SPREAD = 0.3, 0.25, 0.05
# A leg shorter than this says nothing of slopes. Metres.
SHORTEST_LEG = 300.0
# Nobody is back at a place by running; phones say so. Metres.
PLACE_ERROR = 12.0

# What a doubt, the width of an even distribution, adds to half the range: the latter
# holds four times in five.
DOUBT_SHARE = 0.4


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
        known = [
            (distance, point[2])
            for distance, point in zip(course.distances, course.points, strict=True)
            if point[2] is not None
        ]
        self._build(course.length, known)

    @classmethod
    def flat(cls, length: float) -> Slopes:
        """Return those of a flat course of that many metres."""
        slopes = cls.__new__(cls)
        slopes._build(length, [])
        return slopes

    def _build(self, length: float, known: Sequence[tuple[float, float]]) -> None:
        self.length = length
        count = max(2, math.ceil(self.length / STEP) + 1)
        self._marks: Floats = np.linspace(0, self.length, count)
        self._extra: Floats = np.zeros(count)
        if len(known) < 2:
            return
        heights = np.interp(self._marks, *np.array(known).T)
        padded = np.pad(heights, SMOOTH // 2, mode="edge")
        smooth = np.convolve(padded, np.ones(SMOOTH) / SMOOTH, "valid")
        steps = np.diff(self._marks)
        more = slope_cost(np.diff(smooth) / steps)
        self._extra[1:] = np.cumsum(more * steps)

    def extra(self, distances: Floats) -> Floats:
        """Return by how many metres of flat ground the way there is longer."""
        return np.interp(distances, self._marks, self._extra)

    def effort(self, distances: Floats, shown: float) -> Floats:
        """Return the metres of flat ground that take as long as the way there.

        `shown` is the share of the slopes' cost that the runner's pace shows.
        """
        return np.asarray(distances + shown * self.extra(distances))


def slope_cost(slope: Floats) -> Floats:
    """Return by how much a slope (metres a metre) makes running slower, flat = 0."""
    i = np.clip(slope, -STEEPEST, STEEPEST)
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
    heard: float | None = None,
    status: str = "started",
) -> list[Arrival]:
    """Say of each pass of a place when the runner is there.

    `samples`: what is known of the runner, oldest first, the start the first of it;
    `prior`: what was learned from results, the one that is shipped by default;
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
    ranges = (
        {}
        if why_not or not ahead
        else _ranges(ahead, known, slopes, prior or shipped())
    )
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


def _ranges(
    ahead: Sequence[float], known: Sequence[Passed], slopes: Slopes, prior: Prior
) -> dict[float, tuple[float, float, float]]:
    """Return the earliest, middle and latest time at each distance, ascending."""
    start, last = known[0], known[-1]
    started = start.time + start.doubt / 2
    # Metres of flat ground from the start, and seconds since then.
    places = [*[sample.distance for sample in known], *ahead, slopes.length]
    effort = slopes.effort(np.array(places), _shown(known, slopes))
    effort -= effort[0]
    marks, there, length = effort[: len(known)], effort[len(known) : -1], effort[-1]
    times = np.array([sample.time - started for sample in known])
    times[0] = 0.0
    here = float(marks[-1])
    pace = pace_at(here, float(length), marks, times)
    left = (there - here) * times[-1] / here
    ratios = prior.for_length(slopes.length).predict(pace, there / length)
    early, middle, late = (left * np.exp(ratio) for ratio in ratios)
    # The start's doubt is one of the average pace, the last place's one of now.
    doubt = DOUBT_SHARE * np.hypot(start.doubt * (there / here - 1), last.doubt)
    early = np.maximum(middle - np.hypot(middle - early, doubt), 0.0)
    late = middle + np.hypot(late - middle, doubt)
    # Nobody is at a place before they were at those on the way there.
    table = last.time + np.maximum.accumulate([early, middle, late], axis=1)
    return dict(zip(ahead, map(tuple, table.T.tolist()), strict=True))


def _shown(known: Sequence[Passed], slopes: Slopes) -> float:
    """Return the share of the slopes' cost that this runner's pace shows.

    A linear regression of the pace of each leg, drawn towards what is usual.
    """
    marks = np.array(known)
    ends = [0]
    for n, distance in enumerate(marks[:, 1].tolist()):
        if distance - marks[ends[-1], 1] >= SHORTEST_LEG:
            ends.append(n)
    if len(ends) < 3:
        return SLOPES_SHOWN
    time, distance = marks[ends, 0], marks[ends, 1]
    run = np.diff(distance)
    cost = np.diff(slopes.extra(distance)) / run
    pace = np.log(np.maximum(np.diff(time), 1.0) / run)
    cost -= np.average(cost, weights=run)
    weight = run / 1000 / KILOMETRE_SPREAD**2
    drawn = 1 / SLOPES_SPREAD**2
    seen, found = float((weight * cost) @ cost), float((weight * cost) @ pace)
    return (found + drawn * SLOPES_SHOWN) / (seen + drawn)
