"""Arrival times of a runner at the passes of a place, and where a silent runner is.

Pure functions without a database or a clock. Times are in seconds since the epoch,
distances in metres along the course.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from runners.races.arrival.pacing import Prior
from runners.races.arrival.ranges import (
    Curve,
    Passed,
    Range,
    forward,
    is_early,
    ranges_of,
)
from runners.races.arrival.slopes import Slopes

# After this time without a fix on the course a runner may be anywhere.
SILENT_AFTER_S = 600.0
# Silent runners have a probable place between these times without a fix. Later it could
# be anywhere on a marathon.
PROBABLE_FROM_S = 120.0
PROBABLE_TO_S = 3_600.0
# Runners who have not run far enough for a range are expected at this pace at the
# latest, in metres of flat ground per second: that of a slow walk.
WALKING_MPS = 1.0
# The runners whose latest arrival is kept: those of a large race, about 1 kB each.
RUNNERS_KEPT = 32_768

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


class Known(NamedTuple):
    """What is known of a runner at a time: `now`.

    `samples`: passed places, oldest first, the first is the start. `last_fix_at`: time
    of the phone's last fix. `status`: that of the entry. `curve`: computed from the
    same samples, for many places; without it ranges are computed when they are needed.
    """

    samples: Sequence[Passed]
    slopes: Slopes
    prior: Prior
    now: float
    last_fix_at: float | None = None
    status: str = "started"
    curve: Curve | None = None


class Probable(NamedTuple):
    """Where a silent runner is: the middle and the ends of the range in metres."""

    distance: float
    nearest: float
    farthest: float


def arrivals(passes: Sequence[float], known: Known) -> list[Arrival]:
    """Return the arrival of a runner for each pass of a place.

    If the last position comes from a mat, the status is "expected" until the range
    ends, then "silent".
    """
    samples, slopes, prior, now, last_fix_at, status, curve = known
    advancing = forward(samples)
    here = advancing[-1] if advancing else None
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
    elif is_early(advancing):
        why_not = "too_early"
    ranges: dict[float, Range] = {}
    if ahead and not why_not:
        ranges = (
            curve.ranges(ahead) if curve else ranges_of(ahead, advancing, slopes, prior)
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


def probable_place(known: Known) -> Probable | None:
    """Return where a silent runner probably is, or None if that is unknown.

    This is the inverse of `arrivals`: the runner is at the near end of the range if
    they arrive at the latest time everywhere, and at the far end if at the earliest.
    """
    samples, slopes, prior, now, last_fix_at, status, curve = known
    advancing = forward(samples)
    if status != "started" or len(advancing) < 2 or is_early(advancing):
        return None
    here = advancing[-1]
    silence = now - max(here.time, last_fix_at or here.time)
    if silence < PROBABLE_FROM_S or now - here.time > PROBABLE_TO_S:
        return None
    if curve is None:
        (curve,) = Curve.of_many([samples], slopes, prior)
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
    known = forward(samples)
    if not is_early(known):
        return ranges_of([distance], known, slopes, prior)[distance][-1]
    here = known[-1]
    begin, end = slopes.effort(np.array([here.distance, distance]), 1.0)
    return float(here.time + (end - begin) / WALKING_MPS)


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
