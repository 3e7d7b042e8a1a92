"""The progress and splits of a recorded stream of fixes, in the order of arrival."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from runners.races.progress import Fix, Guide, Passing, State

# After a late fix, fixes are followed again from the last saved state before it. One
# state is saved per this number of fixes.
SAVED_EVERY = 16

_time = attrgetter("t")


class Traced(NamedTuple):
    """A fix (`t` in ms) with the progress and its uncertainty in metres."""

    t: int
    progress: float | None
    uncertainty: float | None
    state: str


def trace(guide: Guide, gun: int, fixes: Iterable[Fix]) -> Iterator[Traced | Passing]:
    """Follow fixes in the order of arrival; yield each, and the splits it showed.

    After late fixes, the fixes that follow them are followed again, as in a race.
    Splits that this adds or changes are yielded.
    """
    runner = _Runner(guide, gun)
    late: list[int] = []
    known: dict[tuple[int, int], Passing] = {}
    for fix in chain(fixes, [None]):
        if fix is not None and fix.t <= runner.state.t:
            late.append(fix.t)
            runner.insert(fix)
            continue
        if late:
            splits = runner.follow()
            for t in late:
                yield runner.traced(t)
            yield from _news(known, splits)
            late.clear()
        if fix is not None:
            runner.insert(fix)
            splits = runner.follow()
            yield runner.traced(fix.t)
            yield from _news(known, splits)


class _Runner:
    """The fixes of a runner, one per time, and the progress at each."""

    def __init__(self, guide: Guide, gun: int) -> None:
        self._guide = guide
        self.state = guide.begin(gun)
        self._fixes: list[Fix] = []
        self._shown: dict[int, tuple[float | None, float | None]] = {}
        # States before the fix of a number, and the number of the next fix to follow.
        self._saved: list[tuple[int, State]] = [(0, self.state)]
        self._next = 0

    def insert(self, fix: Fix) -> None:
        """Add a fix, unless there is one of that time."""
        if fix.t in self._shown:
            return
        self._shown[fix.t] = None, None
        self._next = min(self._next, bisect_left(self._fixes, fix.t, key=_time))
        insort(self._fixes, fix, key=_time)

    def follow(self) -> list[Passing]:
        """Follow new fixes and those after them; return the splits that they show."""
        while self._saved[-1][0] > self._next:
            self._saved.pop()
        if self._next < len(self._fixes) - 1:
            self._next, self.state = self._saved[-1]
        splits: list[Passing] = []
        for number in range(self._next, len(self._fixes)):
            if number - self._saved[-1][0] >= SAVED_EVERY:
                self._saved.append((number, self.state))
            fix = self._fixes[number]
            self.state, seen = self._guide.advance(self.state, fix)
            self._shown[fix.t] = seen.progress, seen.uncertainty
            splits += seen.splits
        self._next = len(self._fixes)
        return splits

    def traced(self, t: int) -> Traced:
        return Traced(t, *self._shown[t], self.state.status)


def _news(
    known: dict[tuple[int, int], Passing], passings: Iterable[Passing]
) -> Iterator[Passing]:
    """Record passings and yield those that are new or changed."""
    for passing in passings:
        key = passing.mark, passing.pass_number
        if known.get(key) != passing:
            known[key] = passing
            yield passing
