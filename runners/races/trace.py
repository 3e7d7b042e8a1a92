"""The progress and splits of a recorded stream of fixes, in the order of arrival."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from runners.races.progress import Fix, Guide, Passing


class Traced(NamedTuple):
    """A fix (`t` in ms) with the progress and its uncertainty in metres."""

    t: int
    progress: float | None
    uncertainty: float | None
    state: str


def trace(guide: Guide, gun: int, fixes: Iterable[Fix]) -> Iterator[Traced | Passing]:
    """Follow fixes in the order of arrival; yield each, and the splits it showed.

    After late fixes all fixes are followed again, as in a race. Splits that this adds
    or changes are yielded.
    """
    state = guide.begin(gun)
    arrived: list[Fix] = []
    late: list[int] = []
    known: dict[tuple[int, int], Passing] = {}
    for fix in chain(fixes, [None]):
        if fix is not None and fix.t <= state.t:
            arrived.append(fix)
            late.append(fix.t)
            continue
        if late:
            replay = guide.replay(gun, arrived)
            state = replay.state
            shown = dict(zip(replay.times, replay.shown, strict=True))
            for t in late:
                yield Traced(t, *shown[t], state.status)
            yield from _news(known, replay.splits)
            late.clear()
        if fix is not None:
            arrived.append(fix)
            state, seen = guide.advance(state, fix)
            yield Traced(fix.t, seen.progress, seen.uncertainty, state.status)
            yield from _news(known, seen.splits)


def _news(
    known: dict[tuple[int, int], Passing], passings: Iterable[Passing]
) -> Iterator[Passing]:
    """Record passings and yield those that are new or changed."""
    for passing in passings:
        key = passing.mark, passing.pass_number
        if known.get(key) != passing:
            known[key] = passing
            yield passing
