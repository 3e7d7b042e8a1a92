"""Events of splits that were set by hand or taken by a mat."""

from __future__ import annotations

from collections.abc import Collection

from runners.live.events import SplitPassed
from runners.models import Entry, Race, Split
from runners.races.race_data import Ground, ground_of
from runners.units.clock import milliseconds, now_ms


def settled_splits(pks: Collection[int]) -> list[SplitPassed]:
    """Return the events of splits whose entries others may know of."""
    splits = Split.objects.filter(pk__in=pks, entry__in=Entry.objects.shown())
    grounds: dict[int, Ground] = {}
    events = []
    for split in splits.select_related(
        "entry__runner",
        "entry__race",
        "checkpoint",
        # The course is omitted, because it is large and would be read for each split.
    ).defer("entry__race__line"):
        entry = split.entry
        race = entry.race
        if race.pk not in grounds:
            grounds[race.pk] = ground_of(race)
        key = split.checkpoint_id, split.pass_number
        passes = grounds[race.pk].passes
        public = race.visibility == Race.Visibility.PUBLIC
        events.append(
            SplitPassed(
                entry.runner_id,
                entry.runner.code,
                race=race.slug,
                checkpoint=split.checkpoint_id,
                time=now_ms(),
                distance=passes.get(key, split.checkpoint.distance),
                at=milliseconds(split.time),
                uncertainty=split.uncertainty,
                pass_number=split.pass_number,
                corrected=split.by_hand or split.phone_time is not None,
                only=None if public else race.pk,
            )
        )
    return events
