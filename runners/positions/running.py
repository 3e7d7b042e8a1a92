"""A runner's state in their race, which each fix advances.

The state travels in the events of the runner's group and is stored with the latest
position, so that any process can continue with the next fix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from django.utils import timezone

from runners.live.events import SplitPassed, StatusChanged
from runners.models import Entry, LatestPosition, Position, Split
from runners.positions.active_entry import ActiveEntry, active_entry
from runners.positions.fix import Fix
from runners.positions.storage import (
    FILE,
    Change,
    ConfirmedFix,
    SplitChange,
    StatusChange,
)
from runners.races.progress import Seen, State
from runners.races.splits import Passing
from runners.units.clock import milliseconds, moment_of, now_ms

# Temporary states, with the entry's stored status.
TEMPORARY_STATES = {"off_course": "started"}


class Running:
    """A runner's state in their race, as this process knows it.

    `settled` are the passes (checkpoint, pass number) whose times were taken by a mat
    or set by hand: those of the phone are stored beside them, and not published.
    `replayed`: the state is that of a replay whose other results are not stored.
    """

    __slots__ = (
        *("_carried", "_carried_of"),
        *("engagement", "replayed", "settled", "state"),
    )

    def __init__(
        self,
        engagement: ActiveEntry,
        state: State,
        settled: frozenset[tuple[int, int]] = frozenset(),
        *,
        replayed: bool = False,
    ) -> None:
        self.engagement = engagement
        self.state = state
        self.settled = settled
        self.replayed = replayed
        self._carried: dict[str, Any] = {}
        self._carried_of: State | None = None

    def continues(self, other: Running) -> bool:
        """Return whether this is the same race, with the same course and start."""
        mine, its = self.engagement, other.engagement
        return (mine.entry, mine.version) == (its.entry, its.version)

    def advance(self, fix: Fix) -> Seen:
        """Advance by a fix that is newer than all before."""
        self.state, seen = self.engagement.guide.advance(self.state, fix)
        return seen

    def carried(self) -> dict[str, Any]:
        """Return the state from which other processes and the next start continue.

        Keys: `entry`, `version` (of the `ActiveEntry`) and `state` (`State.as_json`).
        Not to be changed: the event and the row of a fix share it.
        """
        if self._carried_of is not self.state:
            self._carried_of = self.state
            self._carried = {
                "entry": self.engagement.entry,
                "version": self.engagement.version,
                "state": self.state.as_json(),
            }
        return self._carried

    def adopt(self, carried: dict[str, Any], *, corrects: bool = False) -> None:
        """Continue from the state of a different process, unless it is older.

        One that `corrects` replaces the state after the same fix.
        """
        # Most are this process's own, and parsing one takes longer than most of a fix.
        if carried["state"].get("t", 0) < self.state.t + (not corrects):
            return
        if state := _matching_state(carried, self.engagement):
            self.state = state

    def changes(
        self, runner: int, before: State, after: State, seen: Seen
    ) -> Iterator[Change]:
        """Return the changes to store for a step."""
        entry = self.engagement.entry
        for fix in seen.confirmed:
            yield ConfirmedFix(runner, fix.t, fix.progress)
        for passing in seen.splits:
            yield split_change(entry, passing)
        if stored_status(before) != stored_status(after):
            yield StatusChange(entry, *stored_status(after))

    def events(
        self,
        runner: int,
        code: str,
        before: State,
        after: State,
        passings: Iterable[Passing],
        *,
        corrected: bool = False,
        gone: Iterable[Passing] = (),
    ) -> Iterator[SplitPassed | StatusChanged]:
        """Return the events of a step; passings that are `gone` are withdrawn.

        A split names its race; if the race is unlisted, the event is only for those who
        follow the race.
        """
        now = now_ms()
        entry = self.engagement
        withdrawn = [(passing, True) for passing in gone]
        for passing, is_gone in chain(((p, False) for p in passings), withdrawn):
            if (passing.mark, passing.pass_number) in self.settled:
                continue
            yield SplitPassed(
                runner,
                code,
                race=entry.slug,
                checkpoint=passing.mark,
                time=now,
                distance=passing.distance,
                at=passing.at,
                uncertainty=passing.uncertainty,
                pass_number=passing.pass_number,
                corrected=corrected,
                only=None if entry.public else entry.race,
                withdrawn=is_gone,
            )
        if before.status != after.status:
            yield StatusChanged(runner, code, after.status, now)


def split_change(entry: int, passing: Passing, *, by_file: bool = False) -> SplitChange:
    mark, _, number, at, uncertainty = passing
    return SplitChange(entry, mark, number, at, uncertainty, by_file)


def stored_status(state: State) -> tuple[str, int | None, int | None]:
    """Return the fields to store for an entry: status, start and finish."""
    return (
        TEMPORARY_STATES.get(state.status, state.status),
        state.started,
        state.finished,
    )


def live_status(entry: int, status: str, latest: LatestPosition | None) -> str:
    """Return the state of an entry, including temporary ones such as off course."""
    if status == Entry.Status.STARTED and latest is not None:
        carried = latest.race_state
        if carried and carried["entry"] == entry:
            return State.from_json(carried["state"]).status
    return status


def _matching_state(carried: object, engagement: ActiveEntry) -> State | None:
    """Return the state in `carried` if it belongs to this entry and course."""
    if (
        isinstance(carried, dict)
        and carried.get("entry") == engagement.entry
        and carried.get("version") == engagement.version
    ):
        return State.from_json(carried["state"])
    return None


# -- in a thread of the store


def read_running(pk: int) -> tuple[Running | None, float]:
    """Read the race that a runner is in, or else the next one.

    Also returns until when this holds, in milliseconds. The state is the stored one; if
    it does not fit (the course has changed, or the entry was created meanwhile), it is
    that of a replay of the track. Causes about four queries.
    """
    entries = (
        Entry.objects.open_after(timezone.now())
        .filter(runner=pk)
        .exclude(status__in=Entry.OUT)
        .exclude(race__line=[])
        .select_related("wave", "runner")
    )
    engagements = sorted(map(active_entry, entries), key=lambda each: each.opens)
    if not engagements:
        return None, math.inf
    now = now_ms()
    begun = [each for each in engagements if each.opens <= now]
    engagement = begun[-1] if begun else engagements[0]
    later = [each.opens for each in engagements if each.opens > now]
    until = min([engagement.ends, *later])
    carried = (
        LatestPosition.objects.filter(pk=pk)
        .values_list("race_state", flat=True)
        .first()
    )
    replayed = False
    state = _matching_state(carried, engagement)
    if state is None:
        state = engagement.guide.begin(engagement.gun)
        if rows := read_stored(pk, engagement):
            replayed = True
            fixes = [row.fix for row in rows]
            state = engagement.guide.replay(engagement.gun, fixes).state
    settled = Split.objects.filter(entry=engagement.entry).settled()
    passes = settled.values_list("checkpoint", "pass_number")
    return Running(engagement, state, frozenset(passes), replayed=replayed), until


class StoredFix(NamedTuple):
    """A stored position with its results so far."""

    pk: int
    fix: Fix
    progress: float | None
    held: bool
    source: str

    @classmethod
    def of_file(cls, fix: Fix) -> StoredFix:
        """Return a position of a file that is not stored yet."""
        return cls(0, fix, None, False, FILE)


def read_stored(pk: int, engagement: ActiveEntry) -> list[StoredFix]:
    """Read a runner's fixes of a race, oldest first."""
    rows = (
        Position.objects.filter(
            runner=pk,
            recorded_at__gte=moment_of(engagement.opens),
            recorded_at__lte=moment_of(engagement.ends),
        )
        .order_by("recorded_at")
        .values_list(
            *("pk", "progress", "held", "source", "recorded_at", "lat", "lng"),
            *("accuracy", "altitude", "speed", "heading", "battery"),
        )
    )
    return [
        StoredFix(row, Fix(milliseconds(at), *measured), progress, held, source)
        for row, progress, held, source, at, *measured in rows.iterator()
    ]
