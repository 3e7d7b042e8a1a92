"""The state of a runner in a race between two fixes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

from runners.races.progress.motion import Motion
from runners.races.splits import Node, Passing
from runners.units.earth import METRES_PER_DEGREE

# Assumed where a fix has no accuracy.
UNKNOWN_ACCURACY_M = 20.0
# An accuracy is the radius of 68 % of fixes: this many standard deviations of an axis.
ACCURACY_SIGMAS = 1.5
# The least standard deviation, because of the phone and of the drawn line.
MIN_SIGMA_M = 3.0


class Fix(Protocol):
    """The fields of a fix that are read: ms, degrees, metres, m/s. None: unknown."""

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
    """A position that a phone reported."""

    t: int
    lat: float
    lng: float
    accuracy: float | None

    @property
    def sigma(self) -> float:
        """Return the reported standard deviation of each axis, in metres."""
        return max(self._accuracy / ACCURACY_SIGMAS, MIN_SIGMA_M)

    @property
    def slack(self) -> float:
        """Return the largest plausible error by the reported accuracy, in metres."""
        return slack_of(self._accuracy)

    @property
    def _accuracy(self) -> float:
        return UNKNOWN_ACCURACY_M if self.accuracy is None else self.accuracy


class Trail(NamedTuple):
    """A runner's position at a time (ms): degrees, and metres along the course.

    `distance` is None beside the course.
    """

    t: int
    lat: float
    lng: float
    distance: float | None


class Stands(NamedTuple):
    """A runner who stands near the finish.

    `since` is in ms and `distance` in metres. `crossed` (ms) is the estimated time of
    crossing the line, with an uncertainty of `doubt` seconds. They may have crossed it
    `earliest` (ms), when they came near it.
    """

    since: int
    distance: float
    crossed: int
    doubt: float
    earliest: int


class Hypothesis(NamedTuple):
    """A possible position (metres along the course) and speed (m/s), with covariance.

    The first five fields are those of a `Motion`. `cost` is -2 times the logarithm of
    the likelihood, 0 for the best. The hypothesis began at `since` (ms) and `origin`
    (metres). `misfits` is the time for which fixes have not fitted it, in seconds.
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

    def with_motion(self, motion: Motion, cost: float, misfits: float) -> Hypothesis:
        """Return the hypothesis with a different Motion, cost and misfits."""
        return Hypothesis(*motion, cost, self.since, self.origin, misfits)

    def compact(self, cost: float) -> Hypothesis:
        """Return the hypothesis with a different cost, rounded, so that it is small as
        JSON.
        """
        distance, speed, variance, covariance, speed_variance, *_ = self
        return Hypothesis(
            rounded(distance, 100),
            rounded(speed, 1_000),
            rounded(variance, 100),
            rounded(covariance, 1_000),
            rounded(speed_variance, 10_000),
            rounded(cost, 100),
            self.since,
            rounded(self.origin, 100),
            rounded(self.misfits, 10),
        )


class Confirmed(NamedTuple):
    """A fix that was held and is now confirmed."""

    t: int
    lat: float
    lng: float
    progress: float | None


@dataclass
class State:
    """The state of a runner in a race, small as JSON.

    Each fix changes a copy. Nobody changes a state that `Guide.advance` has returned.

    `status` is registered, started, off_course or finished. Pauses are not part of it.
    """

    gun: int
    status: str = "registered"
    # The time of the newest fix.
    t: int = 0
    # The last plausible fix, and a newer one that is not yet plausible.
    shown: Here | None = None
    held: Here | None = None
    # The hypotheses at the time `at`, the best first.
    at: int = 0
    hypotheses: tuple[Hypothesis, ...] = ()
    # The last certain progress, and before the start the distance to it, negative.
    certain: Node | None = None
    waiting: Node | None = None
    # The first certain progress, from which the average pace is computed.
    first: Node | None = None
    # The index of the next pass of a mark.
    next: int = 0
    # The time (ms) since which several places are likely, or 0.
    unsure: int = 0
    # The distance of the last fix from the course, in metres.
    beside: float = 0.0
    # While fixes are beside the course: the time (ms) of the last one on it, and by how
    # much the next was farther beside it than a run explains, in metres.
    far: Node | None = None
    started: int | None = None
    finished: int | None = None
    # The variance of the phone's errors across the course, in square metres.
    noise: float | None = None
    # Positions of the last minutes, and the one before a silence.
    trail: tuple[Trail, ...] = ()
    # The first position of the present series beside the course or too far along it.
    # Before the start, the last position that was weighed.
    elsewhere: Here | None = None
    # The first position at the present place, if that is newer than the certain one.
    stays: Here | None = None
    # The first fix at which the runner was faster than anybody can run, and whether
    # this is confirmed.
    fast: Trail | None = None
    rode: bool = False
    # Set while the runner stands near the finish.
    stands: Stands | None = None
    # Before the start, how many times as likely it is that the runner still waits than
    # that they run, as a logarithm.
    odds: float = 0.0
    # After a long silence, while no fix has matched: where the runner was expected. The
    # time (ms) is earlier by that in which a lost runner becomes as uncertain.
    expected: Node | None = None

    @property
    def progress(self) -> float | None:
        """Return the last certain progress in metres, or None before the start."""
        return None if self.certain is None else self.certain.distance

    def copy(self) -> State:
        """Return a copy. Much faster than `dataclasses.replace`."""
        copied = State.__new__(State)
        copied.__dict__ = self.__dict__.copy()
        return copied

    def as_json(self) -> dict[str, Any]:
        """Return the fields that differ from those of a new state, for `from_json`.

        Named tuples stay as they are: msgspec encodes them as arrays.
        """
        mine = self.__dict__
        return {
            key: value for key, name, usual in _USUAL if (value := mine[name]) != usual
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> State:
        """Return the state that `as_json` has encoded."""
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
        "fs",
    ),
    *("st", "fi", "no", "tr", "e", "sy", "fa", "ro", "sf", "od", "ex"),
)
_NAMES = dict(zip(_KEYS, (field.name for field in fields(State)), strict=True))
_KINDS: dict[str, type[Here | Node | Stands | Trail]] = {
    **{"shown": Here, "held": Here, "elsewhere": Here, "stays": Here},
    **{"certain": Node, "waiting": Node, "first": Node, "far": Node, "stands": Stands},
    "fast": Trail,
    "expected": Node,
}
# The key, name and value of each field of a new state.
_USUAL = [(key, name, getattr(State(gun=-1), name)) for key, name in _NAMES.items()]


def slack_of(accuracy: float) -> float:
    """Return the largest plausible error at an accuracy, in metres."""
    return max(25.0, 2 * accuracy)


def rounded(value: float, parts: int) -> float:
    """Round to a fraction of 1. `round` takes ten times as long."""
    return (value * parts + 0.5) // 1 / parts


def metres_between(lat: float, lng: float, to_lat: float, to_lng: float) -> float:
    """Return the distance of two places in metres, accurate for some kilometres."""
    north = (to_lat - lat) * METRES_PER_DEGREE
    east = to_lng - lng
    if not -180 <= east <= 180:
        east = (east + 180) % 360 - 180
    return math.hypot(north, east * METRES_PER_DEGREE * math.cos(math.radians(lat)))


class Seen(NamedTuple):
    """The result of one fix: metres along the course, and their standard deviation."""

    progress: float | None
    uncertainty: float | None = None
    held: bool = False
    confirmed: tuple[Confirmed, ...] = ()
    splits: tuple[Passing, ...] = ()
