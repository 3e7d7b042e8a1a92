"""Events of splits that were set by hand or taken by a mat."""

from __future__ import annotations

from collections.abc import Collection

from runners.live.events import SplitPassed
from runners.models import Entry, Race, Split
from runners.races.race_data import ground_of
from runners.units.clock import milliseconds, now_ms


def settled_splits(pks: Collection[int]) -> list[SplitPassed]:
    """Return the events of splits whose entries others may know of.

    Causes three queries, and one or two per race.
    """
    splits = Split.objects.filter(pk__in=pks).order_by("pk")
    rows = list(
        splits.values_list(
            *("entry", "entry__race", "entry__runner", "entry__runner__code"),
            "checkpoint",
            *("checkpoint__distance", "pass_number", "time", "uncertainty", "by_hand"),
            "phone_time",
        )
    )
    # As a subquery of the first query, all entries of all races would be read.
    entries = Entry.objects.shown().filter(pk__in={row[0] for row in rows})
    shown = set(entries.values_list("pk", flat=True))
    # Without the course, which is large.
    races = Race.objects.defer("line").in_bulk({row[1] for row in rows})
    passes = {pk: ground_of(race).passes for pk, race in races.items()}
    now = now_ms()
    return [
        SplitPassed(
            runner,
            code,
            race=races[race].slug,
            checkpoint=checkpoint,
            time=now,
            distance=passes[race].get((checkpoint, number), distance),
            at=milliseconds(time),
            uncertainty=uncertainty,
            pass_number=number,
            corrected=by_hand or phone_time is not None,
            only=None if races[race].visibility == Race.Visibility.PUBLIC else race,
        )
        for (
            entry, race, runner, code, checkpoint, distance, number, time, uncertainty,
            by_hand, phone_time,
        ) in rows
        if entry in shown and race in races
    ]  # fmt: skip
