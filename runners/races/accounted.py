"""Groups the entries of a race: on the course, overdue, finished or out.

Each entry is in exactly one group, so that the groups add up to the entries, and those
of starters to the starters, at any moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from runners.models import Checkpoint, Entry, Passing, Race
from runners.races.arrival.eta import latest_arrival
from runners.races.arrival.ranges import Passed
from runners.races.arrival.slopes import Slopes
from runners.races.race_data import Ground, Stop, ground_of, rows_of, samples_of
from runners.races.standings import Row


class Group(StrEnum):
    """The groups of entries, in the order of their need for attention."""

    OVERDUE = "overdue"
    OUT_THERE = "course"
    DNF = "dnf"
    DSQ = "dsq"
    FINISHED = "finished"
    WAITING = "registered"
    DNS = "dns"


STARTERS = tuple(group for group in Group if group not in (Group.WAITING, Group.DNS))


class Seen(NamedTuple):
    """When and where a runner was last seen: seconds since the epoch, and metres.

    `place` is the last checkpoint that they have passed, or empty.
    """

    time: float
    distance: float
    place: str


class Due(NamedTuple):
    """The next place where a runner would be seen, and the late end of the range."""

    place: str
    time: float


@dataclass(frozen=True)
class Account:
    """An entry in its group.

    `contradicts`: a checkpoint has seen the runner after they were marked as out.
    """

    row: Row
    group: Group
    seen: Seen | None
    due: Due | None
    contradicts: bool


@dataclass(frozen=True)
class Accounts:
    """All entries of a race at a moment, those who are overdue longest first.

    `unknown_chips`: how many chips mats have read that belong to no entry.
    """

    at: datetime
    accounts: Sequence[Account]
    unknown_chips: int

    @cached_property
    def counts(self) -> Mapping[Group, int]:
        """Return the size of each group."""
        found = Counter(account.group for account in self.accounts)
        return {group: found[group] for group in Group}

    @property
    def starters(self) -> int:
        """Return how many have started, wherever they are now."""
        return sum(self.counts[group] for group in STARTERS)


def accounts_of(race: Race, now: datetime) -> Accounts:
    """Return the accounts of a race. Causes about seven queries."""
    ground = ground_of(race)
    rows = rows_of(race, ground)
    running = [row for row in rows if row.status == Entry.Status.STARTED]
    samples = samples_of(running, now)
    places = _Places(race, ground)
    accounts = [
        _account(row, samples.get(row.runner), places, now.timestamp()) for row in rows
    ]
    chips = Passing.objects.filter(race=race, state=Passing.State.CHIP)
    return Accounts(
        at=now,
        accounts=sorted(accounts, key=_order),
        unknown_chips=chips.values("chip", "bib").distinct().count(),
    )


class _Places:
    """The passes of a race's checkpoints, in the order of the course."""

    def __init__(self, race: Race, ground: Ground) -> None:
        stops = {stop.pk: stop for stop in ground.stops}
        with_mat = set(
            Checkpoint.objects.filter(race=race, stations__isnull=False).values_list(
                "pk", flat=True
            )
        )
        self.prior = ground.prior
        passes = ground.passes.items()
        self._all = sorted(
            (distance, stops[pk].name, _sees_chips(stops[pk], with_mat))
            for (pk, _), distance in passes
        )
        length = max((distance for distance, *_ in self._all), default=race.length)
        self.slopes = ground.slopes or Slopes.flat(max(length, 1.0))

    def last(self, distance: float) -> str:
        """Return the name of the last checkpoint at or before a distance."""
        names = [name for at, name, _ in self._all if at <= distance]
        return names[-1] if names else ""

    def ahead(self, distance: float, *, has_phone: bool) -> tuple[float, str] | None:
        """Return the next checkpoint that would see a runner: metres, and its name."""
        for at, name, sees_chips in self._all:
            if at > distance and (has_phone or sees_chips):
                return at, name
        return None


def _sees_chips(stop: Stop, with_mat: set[int]) -> bool:
    """Return whether runners without a phone are seen at a checkpoint.

    Somebody sees them at the finish, and without any mats at all checkpoints.
    """
    return not with_mat or stop.pk in with_mat or stop.kind == "finish"


def _account(
    row: Row, samples: Sequence[Passed] | None, places: _Places, now: float
) -> Account:
    due = _due(row, samples, places) if samples else None
    group = Group.OUT_THERE
    if row.status != Entry.Status.STARTED:
        group = Group(row.status)
    elif due is not None and due.time < now:
        group = Group.OVERDUE
    return Account(row, group, _seen(row, places), due, _contradicts(row))


def _seen(row: Row, places: _Places) -> Seen | None:
    times = [split.time for split in row.splits]
    times += [time for time in (row.started, row.last_fix_at) if time is not None]
    if not times or row.status == Entry.Status.REGISTERED:
        return None
    distance = row.distance or 0.0
    return Seen(max(times), distance, places.last(distance))


def _due(row: Row, samples: Sequence[Passed], places: _Places) -> Due | None:
    ahead = places.ahead(row.distance or 0.0, has_phone=row.last_fix_at is not None)
    if ahead is None:
        return None
    distance, name = ahead
    known = tuple(samples)
    time = latest_arrival(distance, known, places.slopes, prior=places.prior)
    return Due(name, time)


def _contradicts(row: Row) -> bool:
    if row.status not in Entry.OUT or not row.splits:
        return False
    is_later = row.out is not None and row.splits[-1].time > row.out
    return is_later or row.status == Entry.Status.DNS


def _order(account: Account) -> tuple[object, ...]:
    rank = list(Group).index(account.group)
    due = account.due.time if account.due else 0.0
    return rank, due, len(account.row.bib), account.row.bib
