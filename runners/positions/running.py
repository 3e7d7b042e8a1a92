"""The processing of a runner's fixes in their race: progress, splits, states.

The state travels in the events of the runner's group and is stored with the latest
position, so that any process can continue with the next fix. After late fixes, the
complete track is replayed.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zlib import crc32

import orjson
from django.db import transaction
from django.utils import timezone

from runners.live.events import SplitPassed, StatusChanged
from runners.models import Entry, LatestPosition, Position, Race, Split
from runners.models.race import LONG_AGO, NEVER
from runners.positions.fix import Fix
from runners.positions.storage import (
    FILE,
    Change,
    ConfirmedFix,
    SplitChange,
    StatusChange,
)
from runners.races.course import Course
from runners.races.progress import Guide, Seen, State
from runners.races.splits import Mark, Passing
from runners.units.clock import milliseconds, now_ms

# Smaller corrections of a progress are not stored.
NEGLIGIBLE_M = 1.0
# Temporary states, with the entry's stored status.
TEMPORARY_STATES = {"off_course": "started"}


@dataclass(frozen=True, slots=True)
class ActiveEntry:
    """An entry whose race is not over, with its course.

    Its fixes count from `opens` to `ends`. `version` changes with the course, its
    checkpoints and the gun. Times are in milliseconds.
    """

    entry: int
    race: int
    slug: str
    # Whether the race is public, and not for holders of a link only.
    public: bool
    gun: int
    opens: int
    ends: int
    guide: Guide
    version: int

    def is_on(self, t: int) -> bool:
        """Return whether a fix of this time is one of the race."""
        return self.opens <= t <= self.ends


class Running:
    """A runner's state in their race, as this process knows it.

    `settled` are the passes (checkpoint, pass number) whose times were taken by a mat
    or set by hand: those of the phone are stored beside them, and not published.
    """

    __slots__ = ("_carried", "_carried_of", "engagement", "settled", "state")

    def __init__(
        self,
        engagement: ActiveEntry,
        state: State,
        settled: frozenset[tuple[int, int]] = frozenset(),
    ) -> None:
        self.engagement = engagement
        self.state = state
        self.settled = settled
        self._carried: dict[str, Any] = {}
        self._carried_of: State | None = None

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

    def adopt(self, carried: dict[str, Any]) -> None:
        """Continue from the state of a different process, unless it is older."""
        # Most are this process's own, and parsing one takes longer than most of a fix.
        if carried["state"].get("t", 0) <= self.state.t:
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
            yield _split(entry, passing)
        if _stored_status(before) != _stored_status(after):
            yield StatusChange(entry, *_stored_status(after))

    def events(
        self,
        runner: int,
        code: str,
        before: State,
        after: State,
        passings: Iterable[Passing],
        *,
        corrected: bool = False,
    ) -> Iterator[SplitPassed | StatusChanged]:
        """Return the events of a step.

        A split names its race; if the race is unlisted, the event is only for those who
        follow the race.
        """
        now = now_ms()
        entry = self.engagement
        for passing in passings:
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
            )
        if before.status != after.status:
            yield StatusChanged(runner, code, after.status, now)


def _split(entry: int, passing: Passing, *, by_file: bool = False) -> SplitChange:
    mark, _, number, at, uncertainty = passing
    return SplitChange(entry, mark, number, at, uncertainty, by_file)


def _stored_status(state: State) -> tuple[str, int | None, int | None]:
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
    state = _matching_state(carried, engagement)
    if state is None:
        state = engagement.guide.begin(engagement.gun)
        if rows := read_stored(pk, engagement):
            fixes = [row.fix for row in rows]
            state = engagement.guide.replay(engagement.gun, fixes).state
    settled = Split.objects.filter(entry=engagement.entry).settled()
    passes = settled.values_list("checkpoint", "pass_number")
    return Running(engagement, state, frozenset(passes)), until


class _Known(NamedTuple):
    changed_at: datetime
    race: Race
    guide: Guide
    version: int


_known: dict[int, _Known] = {}
_knowing = threading.Lock()


def active_entry(entry: Entry, *, is_own: bool = False) -> ActiveEntry:
    """Return an entry with its course and window.

    `is_own`: for positions that the runners give themselves, which count also outside
    of the window that they have agreed to show.
    """
    known = _race(entry.race_id)
    gun = entry.wave.start if entry.wave else known.race.start
    agreed_from, agreed_until = (LONG_AGO, NEVER) if is_own else entry.agreed
    opens = max(known.race.opens_for(entry.wave), agreed_from)
    ends = min(known.race.ends, agreed_until)
    gun_ms = milliseconds(gun)
    return ActiveEntry(
        entry=entry.pk,
        race=entry.race_id,
        slug=known.race.slug,
        public=known.race.visibility == Race.Visibility.PUBLIC,
        gun=gun_ms,
        opens=milliseconds(opens),
        ends=milliseconds(ends),
        guide=known.guide,
        version=known.version ^ gun_ms & 0xFFFFFFFF,
    )


def _race(pk: int) -> _Known:
    """Return a race with its guide, made once for each change of the race."""
    changed_at = Race.objects.values_list("changed_at", flat=True).get(pk=pk)
    with _knowing:
        known = _known.get(pk)
        if known is None or known.changed_at != changed_at:
            race = Race.objects.get(pk=pk)
            marks = [
                Mark(checkpoint.pk, checkpoint.distance, checkpoint.kind)
                for checkpoint in race.checkpoints.all()
            ]
            made_of = [race.line, race.length, race.top_speed, list(map(tuple, marks))]
            version = crc32(orjson.dumps(made_of))
            if known is not None and known.version == version:
                guide = known.guide
            else:
                course = Course(race.line, length=race.length)
                guide = Guide(course, marks, top_speed=race.top_speed)
            known = _known[pk] = _Known(race.changed_at, race, guide, version)
    return known


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
            recorded_at__gte=_moment(engagement.opens),
            recorded_at__lte=_moment(engagement.ends),
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


def _moment(t: int) -> datetime:
    return datetime.fromtimestamp(t / 1000, UTC)


class Recomputed(NamedTuple):
    """The result of a replay: the state, and new or changed splits."""

    state: State
    splits: list[Passing]


def recompute(pk: int, engagement: ActiveEntry) -> Recomputed | None:
    """Replay a runner's track, including late fixes, and store what differs.

    Returns None if nothing is new, because the phone has sent stored fixes again.
    """
    rows = read_stored(pk, engagement)
    gun = engagement.gun
    if all(row.fix.t < gun or row.held or row.progress is not None for row in rows):
        return None
    replay = engagement.guide.replay(engagement.gun, [row.fix for row in rows])
    known = {
        (split.checkpoint_id, split.pass_number): split
        for split in Split.objects.filter(entry=engagement.entry)
    }
    of_file = set(file_passings(rows, replay.splits))
    # New or changed, and measured where a mat has taken the time.
    news, beside = [], []
    for passing in replay.splits:
        split = known.pop((passing.mark, passing.pass_number), None)
        if split is not None and split.by_mat:
            beside.append(passing)
        elif split is None or not (
            split.by_hand or _same(split, passing, by_file=passing in of_file)
        ):
            news.append(passing)
    changes: list[Change] = [
        _split(engagement.entry, passing, by_file=passing in of_file)
        for passing in [*news, *beside]
    ]
    changes.append(StatusChange(engagement.entry, *_stored_status(replay.state)))
    gone = Split.objects.filter(pk__in=[split.pk for split in known.values()])
    # Runners may have given a file of a time that they do not show.
    gone = gone.exclude(by_file=True, time__lt=_moment(engagement.opens))
    with transaction.atomic():
        Entry.objects.lock([engagement.entry])
        gone.filter(by_mat=True).update(phone_time=None)
        gone.filter(by_hand=False, by_mat=False).delete()
        for change in changes:
            change.write()
        Position.objects.bulk_update(
            [
                Position(pk=row.pk, progress=progress, held=held)
                for row, progress, held in zip(
                    rows, replay.progress, replay.held, strict=True
                )
                if held != row.held or _moved(row.progress, progress)
            ],
            ["progress", "held"],
            batch_size=200,
        )
    return Recomputed(replay.state, news)


def file_passings(
    rows: Sequence[StoredFix], passings: Iterable[Passing]
) -> list[Passing]:
    """Return the passings that a position of a file is next to; `rows` by time."""
    times = [row.fix.t for row in rows]
    found = []
    for passing in passings:
        after = bisect_left(times, passing.at)
        near = rows[max(0, after - 1) : after + 1]
        if any(row.source == FILE for row in near):
            found.append(passing)
    return found


def _same(split: Split, passing: Passing, *, by_file: bool) -> bool:
    return (
        split.by_file == by_file
        and milliseconds(split.time) == passing.at
        and abs(split.uncertainty - passing.uncertainty) < 1
    )


def _moved(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(after - before) > NEGLIGIBLE_M
