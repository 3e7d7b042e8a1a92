"""The change of pace in the course of a race: learned coefficients, and their use.

The unknown is y, the logarithm of the pace from here to a place over the average pace
so far. Its median is linear in `pacing_terms`; its 10 % and 90 % quantiles differ from
it by the exponential of a function linear in `spread_terms`. Distances are shares of
the race's length, so that one set of coefficients applies to any place, asked from any
place. `learning.py` computes the coefficients; `prior.json` has the default ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHIPPED = Path(__file__).with_name("prior.json")

# The windows of the recent pace, in shares of the race.
WINDOWS = (0.12, 0.25)
# The pace at which the terms for ability are 0, in seconds per metre (5:30 per km), and
# its growth with the length of races that are longer than a marathon: that of the
# world records from there to 100 km and 100 miles, as of 2023.
USUAL_PACE = 0.33
LONGER_IS_SLOWER = 0.27
# The logarithm of the pace changes in a race like these powers of the share that has
# been run: a fade that is slow at first, and the last two kilometres of a marathon.
POWERS = (1, 2, 16)
# The number of coefficients by field of `Prior`.
TERMS = {"middle": 2 * len(POWERS) + 6, "early": 9, "late": 9}
# Ratios of paces, and abilities, are limited to these.
FARTHEST = 0.5
FARTHEST_SPREAD = 0.3
# The least share of the race behind, because its logarithm is used.
SHORTEST = 0.01
# The ranges of slow runners are wider than those of fast ones: at the start of a race
# by a power of their pace, that is less by this part for each share of the race behind
# and up to the place.
LEVEL_FADES = 0.4

# Half the range of the pace over the next metres, because it wobbles, and the distance
# in which its square falls to a third: mats are too far apart to show it. This is a
# standard deviation of 3.5 %. If a wobble with a correlation length of 1 km explained
# how the pace of a leg differs from those before and after it, it would be 1.9 to 6.3 %
# in the legs of two marathons, 3.7 % in the median.
WOBBLE_AHEAD = 0.045
WOBBLE_AHEAD_KM = 2.0

# Paces fade in long races. They do not in steady ones of up to STEADY_UP_TO_M, where
# small changes of the pace predict nothing. Beyond a marathon they fade more: from
# stretch to stretch of 100 km, the best of Biel slowed down by 2.0 ± 2.1, 5.4 ± 3.4 and
# 4.5 ± 3.8 % (Knechtle et al., "Pacing strategy in male elite and age group 100 km
# ultra-marathoners", Open Access Journal of Sports Medicine 6, 2015), the first hundred
# of a marathon by 2.0 ± 1.8, 3.4 ± 2.9 and 1.7 ± 4.5 %. There they do not differ more,
# but trails and rests were not learned from: ranges widen up to MOST_WIDENING.
STEADY_UP_TO_M = 20_000.0
MARATHON_M = 42_195.0
MOST_AMPLITUDE = 2.0
MOST_WIDENING = 1.5
STEADY_RATIO = 0.06
# The width of the range of a race without fading, relative to one with fading, and the
# wobble of its pace: half the range around 1 km.
STEADY_WIDTH = 0.4
STEADY_WOBBLE = 0.035
# The least duration of a window, because its logarithm is used.
TICK_S = 1.0
# Lengths that differ by less than this share are those of the same race.
SAME_LENGTH = 0.1


class Pace(NamedTuple):
    """The pace up to a place in a race. All fields are of the same shape."""

    # The share of the race that has been run.
    done: Floats
    # Logarithms: the average so far over the usual pace, and the pace over each of
    # WINDOWS over the average.
    level: Floats
    recent: Floats
    half: Floats


@dataclass(frozen=True)
class Prior:
    """The coefficients learned from results."""

    # Coefficients of `pacing_terms`, and of `spread_terms` towards either end.
    middle: tuple[float, ...]
    early: tuple[float, ...]
    late: tuple[float, ...]
    # The length of the races in metres.
    length: float
    # The names of the races learned from, their runners, and the day (ISO 8601).
    source: str = ""
    runners: int = 0
    learned: str = ""
    # The shrinkage of recent paces towards the average, and the wobble added.
    ignored: float = 0.0
    wobble: float = 0.0
    # Half the range of y by which this race may differ from those learned from, per
    # share of the race behind and up to a place, and per root of the share ahead: the
    # recent pace contains the difference up to now.
    between: float = 0.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Prior:
        """Return the prior that `as_json` has encoded.

        Raises KeyError, TypeError and ValueError.
        """
        terms = {name: tuple(data[name]) for name in TERMS}
        prior = cls(**{**data, **terms})
        numbers = chain(*terms.values(), [prior.ignored, prior.wobble, prior.between])
        if (
            any(len(terms[name]) != count for name, count in TERMS.items())
            or not all(math.isfinite(number) for number in numbers)
            or not 0 < prior.length < math.inf
        ):
            raise ValueError("These are not the coefficients of this version.")
        return prior

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)

    def for_length(self, length: float) -> Prior:
        """Return the prior for a race of a different length, in metres."""
        if abs(math.log(length / self.length)) < SAME_LENGTH:
            return self
        learned, wanted = max(amplitude(self.length), 0.2), amplitude(length)
        factor = min(wanted / learned, MOST_AMPLITUDE)
        wider = min(wanted, MOST_WIDENING) / min(learned, MOST_WIDENING)
        fading = 2 * len(POWERS)
        width = math.log(STEADY_WIDTH + (1 - STEADY_WIDTH) * min(wider, MOST_AMPLITUDE))
        steady = max(0.0, 1 - factor)
        return replace(
            self,
            middle=(*(c * factor for c in self.middle[:fading]), *self.middle[fading:]),
            early=(self.early[0] + width, *self.early[1:]),
            late=(self.late[0] + width, *self.late[1:]),
            length=length,
            ignored=STEADY_RATIO * steady,
            wobble=STEADY_WOBBLE * steady,
        )

    def predict(self, pace: Pace, place: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the 10 % quantile, median and 90 % quantile of y at places.

        `place` has shares of the race's length; each result has the same shape.
        """
        pace = pace._replace(
            level=np.clip(pace.level, -FARTHEST, FARTHEST),
            recent=self._shrunk(pace.recent),
            half=self._shrunk(pace.half),
        )
        middle = pacing_terms(pace, place) @ np.array(self.middle)
        spread = spread_terms(pace, place)
        ahead = np.maximum(place - pace.done, 0.0)
        kilometres = ahead * self.length / 1000
        between = self.between * pace.done * place * np.sqrt(ahead)
        wobble = self.wobble**2 * (1 / (1 + kilometres) + 0.2)
        wobble += WOBBLE_AHEAD**2 * np.exp(-kilometres / WOBBLE_AHEAD_KM)
        early, late = (
            np.sqrt(np.exp(2 * spread @ np.array(end)) + wobble + between**2)
            for end in (self.early, self.late)
        )
        return middle - early, middle, middle + late

    def _shrunk(self, ratio: Floats) -> Floats:
        """Return the ratio without the share that wobbles of the pace explain."""
        size = np.maximum(np.abs(ratio) - self.ignored, 0)
        return np.asarray(np.sign(ratio) * np.minimum(size, FARTHEST))


@cache
def shipped() -> Prior:
    """Return the prior that is used by default."""
    return Prior.from_json(json.loads(SHIPPED.read_text()))


def amplitude(length: float) -> float:
    """Return the fading of paces in a race, as a share of a marathon's."""
    more = max(0.0, length - STEADY_UP_TO_M) / (MARATHON_M - STEADY_UP_TO_M)
    return min(math.sqrt(more), MOST_AMPLITUDE)


def pacing_terms(pace: Pace, place: Floats) -> Floats:
    """Return the terms of the middle of y; the last axis has one coefficient each.

    The mean of POWERS ahead less that over the recent window, for all and by ability
    (one term per power each), then the recent paces, by the share behind and ahead. The
    recent pace contains the fade up to now, so only the change since then is added.
    """
    done = pace.done
    ahead = np.maximum(place - done, 1e-6)
    recent = np.minimum(WINDOWS[0], done)
    fade = np.stack(
        [
            _mean_power(done, ahead, power) - _mean_power(done - recent, recent, power)
            for power in POWERS
        ],
        axis=-1,
    )
    scale = np.stack([np.ones_like(ahead), done + 0 * ahead, ahead], axis=-1)
    return np.concatenate(
        [
            fade,
            fade * pace.level[..., None],
            scale * pace.recent[..., None],
            scale * pace.half[..., None],
        ],
        axis=-1,
    )


def _mean_power(begin: Floats, length: Floats, power: int) -> Floats:
    """Return the mean of a power of the share of the race over a stretch."""
    more = power + 1
    return np.asarray(((begin + length) ** more - begin**more) / (more * length))


def spread_terms(pace: Pace, place: Floats) -> Floats:
    """Return the terms of the logarithm of either half of the range.

    The pace over less than the shorter recent window ahead is as unsure as over it:
    it is predicted from that, and mats are as far apart.

    The last two are the square of the recent share of the run so far, for all places
    and by distance ahead. If all of the run is recent, nothing shows whether the pace
    is steady: the next place is as unsure as one that is far ahead.
    """
    ahead = np.maximum(place - pace.done, WINDOWS[0])
    recent = (WINDOWS[0] / np.maximum(pace.done, WINDOWS[0])) ** 2
    return np.stack(
        np.broadcast_arrays(
            np.ones_like(ahead),
            np.log(ahead),
            np.log(np.maximum(pace.done, SHORTEST)),
            ahead,
            pace.level * (1 - LEVEL_FADES * (pace.done + place)),
            np.minimum(np.abs(pace.recent), FARTHEST_SPREAD),
            np.minimum(np.abs(pace.half), FARTHEST_SPREAD),
            recent,
            recent * np.log(ahead),
        ),
        axis=-1,
    )


def pace_at(
    distance: float | Floats, length: float | Floats, marks: Floats, times: Floats
) -> Pace:
    """Return the pace up to a distance.

    `times` (seconds since the start) are known at `marks` (metres from the start,
    ascending, from 0 on); one runner's, or one row per runner. If `marks` have rows,
    distance and length are per runner too.
    """
    now = _at(distance, marks, times)
    average = now / distance
    windows = [np.minimum(share * length, distance) for share in WINDOWS]
    recent, half = (
        np.log(np.maximum(now - _at(distance - window, marks, times), TICK_S))
        - np.log(window * average)
        for window in windows
    )
    done = np.full_like(average, distance / length)
    usual = USUAL_PACE * np.maximum(length / MARATHON_M, 1) ** LONGER_IS_SLOWER
    return Pace(done, np.log(average / usual), recent, half)


def _at(distance: float | Floats, marks: Floats, times: Floats) -> Floats:
    """Interpolate the times at a distance."""
    row: Any = ...
    if marks.ndim == 1:
        behind: Any = np.searchsorted(marks, distance)
    else:
        row = np.arange(len(marks))
        behind = np.count_nonzero(marks < np.asarray(distance)[:, None], axis=-1)
    after = np.minimum(np.maximum(behind, 1), marks.shape[-1] - 1)
    here, there = marks[row, after - 1], marks[row, after]
    part = (distance - here) / (there - here)
    before = times[row, after - 1]
    return np.asarray(before + part * (times[row, after] - before))
