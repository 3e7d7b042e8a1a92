"""What is known of a runner in a race, from one fix to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from runners.races.splits import Node, Passing

# What an unknown accuracy is taken for. Metres.
UNKNOWN = 20.0
# Accuracy is the radius of 68 % of fixes: that many standard deviations of an axis.
SIGMAS = 1.5
# The least standard deviation, of the phone and of the drawn line. Metres.
LEAST_SIGMA = 3.0
# Beyond so many times the accuracy, and these metres, a fix is off the course.
OFF_TIMES, OFF_LEAST, OFF_MOST = 4.0, 50.0, 150.0


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


class Guess(NamedTuple):
    """A place where the runner may be; `since` (ms) and `origin` are its first.

    Distance and origin in metres, speed in m/s, the variance in square metres.
    """

    distance: float
    speed: float
    variance: float
    cost: float
    since: int
    origin: float


class Belief(NamedTuple):
    """How likely each place is, as of `at` (ms), where a course lies in folds.

    `first` is the first cell, `rows` and `paces` are the likelihoods as `belief.py`
    packs them. `distance` (metres) is the likeliest place, within its `deviation`, at
    `speed` (m/s); `share` is how much of the likelihood lies around it.
    """

    at: int
    first: int
    rows: str
    paces: str
    distance: float
    deviation: float
    speed: float
    share: float


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
    # Where the runner may be, as of `at`.
    at: int = 0
    guesses: tuple[Guess, ...] = ()
    # The last certain progress, and before the start: metres to the start, negative.
    certain: Node | None = None
    waiting: Node | None = None
    # The next pass of a mark.
    next: int = 0
    # Fixes in a row off the course, and since when.
    away: int = 0
    away_since: int = 0
    started: int | None = None
    finished: int | None = None
    # Only where the course lies in folds closer than the noise.
    belief: Belief | None = None

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
        for name, kind in (("shown", Here), ("held", Here)):
            if values.get(name) is not None:
                values[name] = kind(*values[name])
        for name in ("certain", "waiting"):
            if values.get(name) is not None:
                values[name] = Node(*values[name])
        if values.get("belief") is not None:
            values["belief"] = Belief(*values["belief"])
        values["guesses"] = tuple(Guess(*guess) for guess in values.get("guesses", ()))
        return cls(**values)


_KEYS = ("g", "s", "t", "l", "h", "a", "y", "c", "w", "n", "o", "os", "st", "fi", "b")
_NAMES = dict(zip(_KEYS, State._fields, strict=True))
_BEGINNING = State(gun=-1)


class Seen(NamedTuple):
    """What one fix showed: metres along the course, and their standard deviation."""

    progress: float | None
    uncertainty: float | None = None
    held: bool = False
    confirmed: tuple[Confirmed, ...] = ()
    splits: tuple[Passing, ...] = ()


def _plain(value: tuple[Any, ...]) -> list[Any]:
    return [_plain(item) if isinstance(item, tuple) else item for item in value]
