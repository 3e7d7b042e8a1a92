"""Replays a runner's track of a race after late fixes, and stores what differs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.db import transaction

from runners.models import Entry, News, Position, Split
from runners.positions.active_entry import ActiveEntry
from runners.positions.running import (
    StoredFix,
    read_stored,
    split_change,
    stored_status,
)
from runners.positions.storage import FILE, Change, StatusChange
from runners.races.progress import State
from runners.races.splits import Passing
from runners.units.clock import milliseconds, moment_of

# Smaller corrections of a progress are not stored.
NEGLIGIBLE_M = 1.0


class Recomputed(NamedTuple):
    """The result of a replay: the state, new or changed splits, and withdrawn ones."""

    state: State
    splits: list[Passing]
    gone: list[Passing]


def recompute(
    pk: int, engagement: ActiveEntry, changed: bool = False
) -> Recomputed | None:
    """Replay a runner's track, including late fixes, and store what differs.

    `changed`: the course or the gun has changed since the results were stored. Returns
    None if nothing is new, because the phone has sent stored fixes again.
    """
    # Read before the fixes: a split stored during the replay is not withdrawn by it.
    known = {
        (split.checkpoint_id, split.pass_number): split
        for split in Split.objects.filter(entry=engagement.entry).select_related(
            "checkpoint"
        )
    }
    rows = read_stored(pk, engagement)
    gun = engagement.gun
    is_known = all(
        row.fix.t < gun or row.held or row.progress is not None for row in rows
    )
    is_old = changed and any(row.progress is not None for row in rows)
    if is_known and not is_old:
        return None
    replay = engagement.guide.replay(engagement.gun, [row.fix for row in rows])
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
        split_change(engagement.entry, passing, by_file=passing in of_file)
        for passing in [*news, *beside]
    ]
    changes.append(StatusChange(engagement.entry, *stored_status(replay.state)))
    # Runners may have given a file of a time that they do not show.
    opens = moment_of(engagement.opens)
    gone = [s for s in known.values() if not (s.by_file and s.time < opens)]
    of_phone = [split for split in gone if not (split.by_hand or split.by_mat)]
    with transaction.atomic():
        Entry.objects.lock([engagement.entry])
        rows_of_gone = Split.objects.filter(pk__in=[split.pk for split in gone])
        rows_of_gone.filter(by_mat=True).update(phone_time=None)
        rows_of_gone.filter(by_hand=False, by_mat=False).delete()
        News.objects.withdraw(of_phone)
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
    distances = {
        (each.mark, each.pass_number): each.distance for each in engagement.guide.passes
    }
    withdrawn = [
        Passing(
            split.checkpoint_id,
            distances.get(key, split.checkpoint.distance),
            split.pass_number,
            milliseconds(split.time),
            split.uncertainty,
        )
        for key, split in known.items()
        if split in of_phone
    ]
    return Recomputed(replay.state, news, withdrawn)


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
