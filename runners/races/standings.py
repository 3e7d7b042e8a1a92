"""Standings overall, by category and by wave.

Finishers come first, by time, then the runners on the course, by their certain
progress, then those who have not started, and then DNFs, DNSs and DSQs. Pure functions
over the rows of `race_data`. Times are in seconds since the epoch, distances in metres
along the course.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

# "gun": since the start of the wave. "chip": since the runner crossed the start.
Clock = Literal["gun", "chip"]


class SplitTime(NamedTuple):
    """A split: distance and time; `uncertainty` in seconds.

    `from_file`: the time comes from the file of a watch.
    """

    checkpoint: int
    pass_number: int
    distance: float
    time: float
    uncertainty: float
    by_hand: bool
    from_file: bool = False


@dataclass(frozen=True)
class Row:
    """An entry and its run. Unknown values are None.

    `splits` are ordered by distance. `progress` is the last certain progress and
    `progress_at` its time, `last_fix_at` the time of the phone's last fix, `out` the
    time of a DNF.
    """

    entry: int
    runner: int
    code: str
    name: str
    colour: str
    bib: str
    category: str
    club: str
    wave: str
    status: str
    gun: float
    started: float | None = None
    finished: float | None = None
    out: float | None = None
    is_off_course: bool = False
    progress: float | None = None
    progress_at: float | None = None
    last_fix_at: float | None = None
    splits: tuple[SplitTime, ...] = ()

    @cached_property
    def distance(self) -> float | None:
        """Return the certain distance: by progress or by a split."""
        known = [self.progress] if self.progress is not None else []
        known += [split.distance for split in self.splits[-1:]]
        return max(known, default=None)

    @property
    def state(self) -> str:
        """Return the status, or the temporary state."""
        return "off_course" if self.is_off_course else self.status

    def since(self, begin: float) -> Row:
        """Return the row for a viewer who sees no position from before a time."""
        if self.last_fix_at is not None and self.last_fix_at < begin:
            return replace(
                self,
                is_off_course=False,
                progress=None,
                progress_at=None,
                last_fix_at=None,
            )
        if self.progress_at is not None and self.progress_at < begin:
            return replace(self, progress=None, progress_at=None)
        return self

    def begin(self, clock: Clock) -> float:
        """Return the start of the runner's time."""
        return self.gun if clock == "gun" or self.started is None else self.started

    def time(self, clock: Clock) -> float | None:
        """Return a finisher's time in seconds."""
        return None if self.finished is None else self.finished - self.begin(clock)


@dataclass(frozen=True, slots=True)
class RankedRow:
    """A row with its ranks. Only finishers and runners on the course have ranks."""

    row: Row
    rank: int | None
    category_rank: int | None
    wave_rank: int | None


class Gap(NamedTuple):
    """The gap to the leader: seconds at the same point, and metres while both run."""

    seconds: float | None = None
    metres: float | None = None


# The order of the states; the first two have ranks.
FINISHED, RUNNING, WAITING, OUT, ABSENT, DISQUALIFIED = range(6)
LAST = {"dnf": OUT, "dns": ABSENT, "dsq": DISQUALIFIED}


def standings(rows: Iterable[Row], clock: Clock = "gun") -> list[RankedRow]:
    """Sort rows and rank them overall, in their category and in their wave.

    Equal times share a rank; after two firsts comes a third.
    """
    keyed = sorted((_key(row, clock), row.entry, row) for row in rows)
    ranked_rows = []
    counted: Counter[Hashable] = Counter()
    last: dict[Hashable, tuple[object, int]] = {}
    for key, _, row in keyed:

        def rank(group: Hashable, key: tuple[object, ...] = key) -> int | None:
            if key[0] not in (FINISHED, RUNNING):
                return None
            counted[group] += 1
            # All fields except the bib.
            before, number = last.get(group, (None, 0))
            if before != key[:-1]:
                number = counted[group]
                last[group] = key[:-1], number
            return number

        ranked_rows.append(
            RankedRow(
                row,
                rank("all"),
                rank(("category", row.category)) if row.category else None,
                rank(("wave", row.wave)) if row.wave else None,
            )
        )
    return ranked_rows


def gap_of(ranked: RankedRow, leader: RankedRow, clock: Clock = "gun") -> Gap:
    """Return a runner's gap to the leader.

    The gap between finishers is that of their times. Otherwise it is the gap at the
    last point that both have passed, in metres while both run.
    """
    row, first = ranked.row, leader.row
    if ranked.rank is None or leader.rank is None or row is first:
        return Gap()
    time, best = row.time(clock), first.time(clock)
    if time is not None and best is not None:
        return Gap(seconds=time - best)
    metres = None
    if time is None and best is None:
        metres = (first.distance or 0.0) - (row.distance or 0.0)
    passed = {
        (split.checkpoint, split.pass_number): split.time for split in first.splits
    }
    for split in reversed(row.splits):
        there = passed.get((split.checkpoint, split.pass_number))
        if there is not None and split.distance > 0:
            mine, theirs = split.time - row.begin(clock), there - first.begin(clock)
            return Gap(mine - theirs, metres)
    return Gap(metres=metres)


def gaps_of(group: Sequence[RankedRow], clock: Clock = "gun") -> list[Gap]:
    """Return the gap of each row of a ranked group to the first.

    Splits may be older for one runner than for the next: nobody's gap is less than that
    of the runner ranked before, who will be earlier at every place to come.
    """
    gaps: list[Gap] = []
    least = 0.0
    for ranked in group:
        gap = gap_of(ranked, group[0], clock)
        if gap.seconds is not None:
            least = max(least, gap.seconds)
            gap = gap._replace(seconds=least)
        gaps.append(gap)
    return gaps


class Leg(NamedTuple):
    """A split for display: seconds since the start, and since the split before.

    `pace` is that of the leg in seconds per metre, or None if it is meaningless.
    """

    split: SplitTime
    elapsed: float
    pace: float | None


def legs(row: Row, clock: Clock = "gun") -> list[Leg]:
    """Return a runner's splits with the time since the start and each leg's pace."""
    found = []
    begin = row.begin(clock)
    before_time, before_distance = row.begin("chip"), 0.0
    for split in row.splits:
        run, took = split.distance - before_distance, split.time - before_time
        pace = took / run if run > 0 and took > 0 else None
        found.append(Leg(split, split.time - begin, pace))
        before_time, before_distance = split.time, split.distance
    return found


def in_group(
    ranked_rows: Iterable[RankedRow], category: str, wave: str, club: str = ""
) -> list[RankedRow]:
    """Return the rows of a category, a wave and a club; an empty name selects all."""
    return [
        ranked
        for ranked in ranked_rows
        if (not category or ranked.row.category == category)
        and (not wave or ranked.row.wave == wave)
        and (not club or ranked.row.club == club)
    ]


def matching(ranked_rows: Sequence[RankedRow], text: str) -> list[RankedRow]:
    """Return the rows whose bib begins with a text or whose name contains it."""
    wanted = text.casefold().strip()
    return [
        ranked
        for ranked in ranked_rows
        if ranked.row.bib.casefold().startswith(wanted)
        or wanted in ranked.row.name.casefold()
    ]


def _key(row: Row, clock: Clock) -> tuple[object, ...]:
    """Return the sort key of a row. Its last part makes the order unambiguous."""
    bib = _natural(row.bib)
    if row.status == "finished":
        time = row.time(clock)
        # Finishers whose status was set by hand may have no time. They follow the
        # others.
        return FINISHED, time is None, round(time or 0.0, 3), bib
    if row.status in LAST:
        return LAST[row.status], False, -(row.distance or 0.0), bib
    if row.status == "registered" and row.distance is None:
        return WAITING, False, row.gun, bib
    # At equal progress, the runner who was there first is ahead.
    since = row.splits[-1].time - row.begin(clock) if row.splits else 0.0
    return RUNNING, False, -(row.distance or 0.0), since, bib


def _natural(bib: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a natural sort key of a bib: 9 before 10, A2 before A10."""
    return tuple(
        (False, int(part), "") if part.isdecimal() else (True, 0, part)
        for part in re.findall(r"\d+|\D+", bib)
    )
