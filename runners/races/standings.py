"""Who leads: standings overall, by category and by wave.

Finishers come first, by their time; then who is running, by how far they certainly
are; then who has not started, and who will not finish. Pure functions over rows as
`reading` gives them. Times are seconds since the epoch, distances metres along the
course.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

# Since the start of the wave, or since the runner crossed the start.
Clock = Literal["gun", "chip"]


class Taken(NamedTuple):
    """A split: where and when; `uncertainty` in seconds."""

    checkpoint: int
    pass_number: int
    distance: float
    time: float
    uncertainty: float
    by_hand: bool


@dataclass(frozen=True)
class Row:
    """An entry, and what is known of the run; unknown is None.

    `splits` come in the order of their distance. `progress` is the last certain one,
    `heard` when the phone was last heard of, `out` when the runner gave up.
    """

    entry: int
    runner: int
    code: str
    name: str
    colour: str
    bib: str
    category: str
    wave: str
    status: str
    gun: float
    started: float | None = None
    finished: float | None = None
    out: float | None = None
    is_off_course: bool = False
    progress: float | None = None
    heard: float | None = None
    splits: tuple[Taken, ...] = ()

    @cached_property
    def distance(self) -> float | None:
        """Return how far the runner certainly is: by progress, or by a split."""
        known = [self.progress] if self.progress is not None else []
        known += [split.distance for split in self.splits[-1:]]
        return max(known, default=None)

    @property
    def state(self) -> str:
        """Return the status, or what passes."""
        return "off_course" if self.is_off_course else self.status

    def begin(self, clock: Clock) -> float:
        """Return from when the runner's time is taken."""
        return self.gun if clock == "gun" or self.started is None else self.started

    def time(self, clock: Clock) -> float | None:
        """Return a finisher's time in seconds."""
        return None if self.finished is None else self.finished - self.begin(clock)


@dataclass(frozen=True, slots=True)
class Place:
    """A row in its order. Who has not started, or will not finish, has no rank."""

    row: Row
    rank: int | None
    category_rank: int | None
    wave_rank: int | None


class Gap(NamedTuple):
    """How far behind: seconds at the same place, and metres where that is now."""

    seconds: float | None = None
    metres: float | None = None


# The order of the states; who is in the first two has a rank.
FINISHED, RUNNING, WAITING, OUT, ABSENT = range(5)


def standings(rows: Iterable[Row], clock: Clock = "gun") -> list[Place]:
    """Order rows and rank them overall, in their category and in their wave.

    The same time is the same rank; the next one after two firsts is the third.
    """
    keyed = sorted((_key(row, clock), row.entry, row) for row in rows)
    places = []
    counted: Counter[Hashable] = Counter()
    last: dict[Hashable, tuple[object, int]] = {}
    for key, _, row in keyed:

        def rank(group: Hashable, key: tuple[object, ...] = key) -> int | None:
            if key[0] not in (FINISHED, RUNNING):
                return None
            counted[group] += 1
            # All but the bib.
            before, number = last.get(group, (None, 0))
            if before != key[:-1]:
                number = counted[group]
                last[group] = key[:-1], number
            return number

        places.append(
            Place(
                row,
                rank("all"),
                rank(("category", row.category)) if row.category else None,
                rank(("wave", row.wave)) if row.wave else None,
            )
        )
    return places


def gap_of(place: Place, leader: Place, clock: Clock = "gun") -> Gap:
    """Tell how far a runner is behind the leader.

    Between finishers by their times; else by the last place that both have passed,
    and by metres while both run.
    """
    row, first = place.row, leader.row
    if place.rank is None or leader.rank is None or row is first:
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


class Leg(NamedTuple):
    """A split as it is shown: seconds since the start, and since the one before.

    `pace` is that of the leg, seconds a metre; None where it says nothing.
    """

    split: Taken
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


def in_group(places: Iterable[Place], category: str, wave: str) -> list[Place]:
    """Return those of a category and a wave; an empty name is all of them."""
    return [
        place
        for place in places
        if (not category or place.row.category == category)
        and (not wave or place.row.wave == wave)
    ]


def matching(places: Sequence[Place], text: str) -> list[Place]:
    """Return those whose bib begins with a text, or with it in a part of the name."""
    wanted = text.casefold().strip()
    return [
        place
        for place in places
        if place.row.bib.casefold().startswith(wanted)
        or wanted in place.row.name.casefold()
    ]


def _key(row: Row, clock: Clock) -> tuple[object, ...]:
    """Return what rows are ordered by; the last part only makes the order certain."""
    bib = _natural(row.bib)
    if row.status == "finished":
        time = row.time(clock)
        # Who was set as finished by hand, without a time, comes after the others.
        return FINISHED, time is None, round(time or 0.0, 3), bib
    if row.status in ("dnf", "dns"):
        state = OUT if row.status == "dnf" else ABSENT
        return state, False, -(row.distance or 0.0), bib
    if row.status == "registered" and row.distance is None:
        return WAITING, False, row.gun, bib
    # Level by metres: who was there earlier.
    since = row.splits[-1].time - row.begin(clock) if row.splits else 0.0
    return RUNNING, False, -(row.distance or 0.0), since, bib


def _natural(bib: str) -> tuple[tuple[bool, int, str], ...]:
    """Order bibs as people do: 9 before 10, A2 before A10."""
    return tuple(
        (False, int(part), "") if part.isdecimal() else (True, 0, part)
        for part in re.findall(r"\d+|\D+", bib)
    )
