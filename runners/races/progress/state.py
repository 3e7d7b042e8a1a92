"""What is known of a runner in a race, from one fix to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from runners.races.progress.motion import Motion
from runners.races.splits import Node, Passing

# What an unknown accuracy is taken for. Metres.
UNKNOWN = 20.0
# Accuracy is the radius of 68 % of fixes: that many standard deviations of an axis.
SIGMAS = 1.5
# The least standard deviation, of the phone and of the drawn line. Metres.
LEAST_SIGMA = 3.0
# Beyond so many times the accuracy, and these metres, a fix is off the course.
OFF_TIMES, OFF_LEAST, OFF_MOST = 4.0, 50.0, 150.0


METRES_PER_DEGREE = 111_195.0


class Fix(Protocol):
    """What is read of a fix: ms, degrees, metres, m/s; None is unknown."""

    @property
    def t(self) -> int: ...
    @property
    def lat(self) -> float: ...
    @property
    def lng(self) -> float: ...
    @property
    def accuracy(self) -> float | None: ...
    @property
    def speed(self) -> float | None: ...
    @property
    def heading(self) -> float | None: ...


class Here(NamedTuple):
    """Where a phone said it was."""

    t: int
    lat: float
    lng: float
    accuracy: float | None
    speed: float | None = None
    heading: float | None = None

    @property
    def sigma(self) -> float:
        """Return the standard deviation of each axis."""
        return max(self._accuracy / SIGMAS, LEAST_SIGMA)

    @property
    def slack(self) -> float:
        """Return how far off, in metres, a plausible fix may be."""
        return max(25.0, 2 * self._accuracy)

    @property
    def limit(self) -> float:
        """Return how far beside the course, in metres, a fix is still on it."""
        return min(max(OFF_TIMES * self._accuracy, OFF_LEAST), OFF_MOST)

    @property
    def _accuracy(self) -> float:
        return UNKNOWN if self.accuracy is None else self.accuracy


class Trail(NamedTuple):
    """Where a runner was at a time (ms): degrees, and metres along the course.

    The last is None beside the course.
    """

    t: int
    lat: float
    lng: float
    distance: float | None


class Stands(NamedTuple):
    """Somebody who stands near the finish: since (ms) and where, metres.

    They crossed it at about `crossed` (ms), give or take `doubt` seconds.
    """

    since: int
    distance: float
    crossed: int
    doubt: float


class Hypothesis(NamedTuple):
    """A place where the runner may be, metres along the course, and a speed, m/s.

    With their covariance. `cost` is -2 times the logarithm of the likelihood, 0 for
    the best. `since` (ms) and `origin` (metres) are where it began; `misfits` is for
    how many seconds fixes have been somewhere else.
    """

    distance: float
    speed: float
    variance: float
    covariance: float
    speed_variance: float
    cost: float
    since: int
    origin: float
    misfits: float = 0.0

    @property
    def motion(self) -> Motion:
        """Return the Gaussian of distance and speed."""
        return Motion(*self[:5])

    def with_motion(self, motion: Motion, cost: float, misfits: float) -> Hypothesis:
        """Return the hypothesis with another Gaussian."""
        distance, speed, variance, covariance, speed_variance = motion
        return Hypothesis(
            round(distance, 2),
            round(speed, 3),
            round(variance, 2),
            round(covariance, 3),
            round(speed_variance, 4),
            round(cost, 2),
            self.since,
            self.origin,
            round(misfits, 1),
        )


class Confirmed(NamedTuple):
    """A fix that was held and now counts."""

    t: int
    lat: float
    lng: float
    progress: float | None


class State(NamedTuple):
    """All that is known of a runner in a race; immutable, and small as JSON.

    `status` is registered, started, off_course or finished; that somebody paused is
    known to those who share, not to their fixes.
    """

    gun: int
    status: str = "registered"
    # The newest fix.
    t: int = 0
    # The last one that is plausible, and one that is not yet.
    shown: Here | None = None
    held: Here | None = None
    # Where the runner may be, as of `at`, the best first.
    at: int = 0
    hypotheses: tuple[Hypothesis, ...] = ()
    # The last certain progress, and before the start: metres to the start, negative.
    certain: Node | None = None
    waiting: Node | None = None
    # The first certain one, from which the average pace is taken.
    first: Node | None = None
    # The next pass of a mark.
    next: int = 0
    # Since when (ms) several places are likely; 0 while one is.
    unsure: int = 0
    # How far from the course the last fix was that is on it. Metres.
    beside: float = 0.0
    # Fixes in a row beside the course, and since when; when they were first far from
    # it, and how far; further if that was sudden.
    away: int = 0
    away_since: int = 0
    far: Node | None = None
    started: int | None = None
    finished: int | None = None
    # The variance of the phone's errors, as the course shows it. Square metres.
    noise: float | None = None
    # Where the runner was in the last minutes, and before a silence.
    trail: tuple[Trail, ...] = ()
    # Where they were first seen beside the course, or too far along it.
    elsewhere: Here | None = None
    # Whether they were faster than anybody runs: at the last fix, and for certain.
    fast: bool = False
    rode: bool = False
    # Since when they stand near the finish.
    stands: Stands | None = None

    @property
    def progress(self) -> float | None:
        """Return the last certain progress, metres; None before the start."""
        return None if self.certain is None else self.certain.distance

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes: only what differs from the beginning."""
        return {
            # orjson takes no named tuples.
            key: _plain(value) if isinstance(value, tuple) else value
            for key, value, usual in zip(_KEYS, self, _BEGINNING, strict=True)
            if value != usual
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> State:
        """Read a state that `as_json` wrote."""
        values = {name: data[key] for key, name in _NAMES.items() if key in data}
        for name, kind in _KINDS.items():
            if values.get(name) is not None:
                values[name] = kind(*values[name])
        for name, items in (("hypotheses", Hypothesis), ("trail", Trail)):
            values[name] = tuple(items(*item) for item in values.get(name, ()))
        return cls(**values)


_KEYS = (
    *(
        "g",
        "s",
        "t",
        "l",
        "h",
        "a",
        "hy",
        "c",
        "w",
        "f",
        "n",
        "u",
        "be",
        "o",
        "os",
        "fs",
    ),
    *("st", "fi", "no", "tr", "e", "fa", "ro", "sf"),
)
_NAMES = dict(zip(_KEYS, State._fields, strict=True))
_KINDS: dict[str, type[Here | Node | Stands]] = {
    **{"shown": Here, "held": Here, "elsewhere": Here},
    **{"certain": Node, "waiting": Node, "first": Node, "far": Node, "stands": Stands},
}
_BEGINNING = State(gun=-1)


def metres_between(lat: float, lng: float, to_lat: float, to_lng: float) -> float:
    """Return the distance of two places that are some kilometres apart."""
    north = (to_lat - lat) * METRES_PER_DEGREE
    east = to_lng - lng
    if not -180 <= east <= 180:
        east = (east + 180) % 360 - 180
    return math.hypot(north, east * METRES_PER_DEGREE * math.cos(math.radians(lat)))


class Seen(NamedTuple):
    """What one fix showed: metres along the course, and their standard deviation."""

    progress: float | None
    uncertainty: float | None = None
    held: bool = False
    confirmed: tuple[Confirmed, ...] = ()
    splits: tuple[Passing, ...] = ()


def _plain(value: tuple[Any, ...]) -> list[Any]:
    return [_plain(item) if isinstance(item, tuple) else item for item in value]
