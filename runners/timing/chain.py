"""Which reads of a runner's chip are passes of the course's checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from runners.models import Passing

State = Passing.State

# Reads of a mat within this time of each other belong to one pass of it.
SAME_PASS_S = 60.0
# Reads up to this long before the gun may be the start.
EARLY_S = 5.0


class StationPass(NamedTuple):
    """A pass of the course over a station: metres, checkpoint, number of the pass."""

    distance: float
    checkpoint: int
    pass_number: int
    is_start: bool


class ChipRead(NamedTuple):
    """A stored read: its primary key, its station's, and seconds since the epoch."""

    pk: int
    station: int
    time: float


class Group(NamedTuple):
    """Reads of one pass of a mat, by time."""

    reads: list[ChipRead]

    @property
    def first(self) -> ChipRead:
        return self.reads[0]


class Link(NamedTuple):
    """A group taken for a pass, after the best chain of passes before it.

    `length` is the number of passes of the chain.
    """

    group: int
    read: ChipRead
    passed: StationPass
    length: int
    before: Link | None

    @property
    def worth(self) -> tuple[int, float]:
        """Return what to maximise: of equal chains the one that claims less."""
        return self.length, -self.passed.distance


class Outcome(NamedTuple):
    """The reads that are splits, and the states of all, by primary key."""

    splits: dict[StationPass, ChipRead]
    states: dict[int, State]


def passes_of_chip(
    reads: Iterable[ChipRead],
    stations: Mapping[int, Sequence[StationPass]],
    *,
    gun: float,
    top_speed: float,
) -> Outcome:
    """Return which reads are splits.

    These are the most reads that a runner can have made in the order of the course,
    within the top speed (metres per second). A read of a chip in somebody's pocket at
    the finish is so outvoted by the mats that follow. The first read at a mat counts,
    and at the start the last one.
    """
    states: dict[int, State] = {}
    known = []
    for read in sorted(reads, key=lambda read: read.time):
        if not stations.get(read.station):
            states[read.pk] = State.STATION
        elif read.time < gun - EARLY_S:
            states[read.pk] = State.EARLY
        else:
            known.append(read)
    groups = _groups(known, stations, top_speed)
    chain = _chain(groups, stations, gun, top_speed)
    splits = {link.passed: link.read for link in chain}
    used = {link.read.pk for link in chain}
    taken = {link.group for link in chain}
    for number, group in enumerate(groups):
        here = set(stations[group.first.station])
        repeats = number in taken or here <= splits.keys()
        for read in group.reads:
            states[read.pk] = State.REPEAT if repeats else State.ORDER
            if read.pk in used:
                states[read.pk] = State.USED
    return Outcome(splits, states)


def _groups(
    reads: Iterable[ChipRead],
    stations: Mapping[int, Sequence[StationPass]],
    top_speed: float,
) -> list[Group]:
    """Group reads of a mat that follow each other, by the time of the first."""
    groups: list[Group] = []
    last: dict[int, Group] = {}
    for read in reads:
        group = last.get(read.station)
        passes = stations[read.station]
        laps = [
            after.distance - before.distance
            for before, after in zip(passes, passes[1:], strict=False)
        ]
        gap = min([SAME_PASS_S, *(lap / top_speed for lap in laps)])
        if group is not None and read.time - group.reads[-1].time < gap:
            group.reads.append(read)
        else:
            last[read.station] = group = Group([read])
            groups.append(group)
    return groups


def _chain(
    groups: Sequence[Group],
    stations: Mapping[int, Sequence[StationPass]],
    gun: float,
    top_speed: float,
) -> list[Link]:
    links: list[Link] = []
    for number, group in enumerate(groups):
        found = []
        for passed in stations[group.first.station]:
            read = group.reads[-1] if passed.is_start else group.first
            if read.time - gun + EARLY_S < passed.distance / top_speed:
                continue
            before = max(
                (link for link in links if _can_follow(link, passed, read, top_speed)),
                key=lambda link: link.worth,
                default=None,
            )
            length = 1 if before is None else before.length + 1
            found.append(Link(number, read, passed, length, before))
        links += found
    last = max(links, key=lambda link: link.worth, default=None)
    chain = []
    while last is not None:
        chain.append(last)
        last = last.before
    return chain


def _can_follow(
    link: Link, passed: StationPass, read: ChipRead, top_speed: float
) -> bool:
    run = passed.distance - link.passed.distance
    return run > 0 and read.time - link.read.time >= run / top_speed
