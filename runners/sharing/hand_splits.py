"""Events for the followers of runners whose splits an organiser has set by hand."""

from __future__ import annotations

from collections.abc import Collection

from runners.live.encoding import v1
from runners.live.groups import RunnerEvent
from runners.live.outbox import now_ms
from runners.models import Entry, Race, Split
from runners.positions.fix import milliseconds
from runners.positions.running import FollowerEvent
from runners.positions.track import Publisher, follower_event
from runners.races.race_data import ground_of


def splits_by_hand(pks: Collection[int]) -> list[RunnerEvent]:
    """Return the events of splits whose entries others may know of."""
    splits = Split.objects.filter(pk__in=pks, entry__in=Entry.objects.shown())
    events = []
    for split in splits.select_related("entry__runner", "entry__race", "checkpoint"):
        entry = split.entry
        race, runner = entry.race, Publisher(entry.runner_id, entry.runner.code)
        key = split.checkpoint_id, split.pass_number
        passes = ground_of(race).passes
        frame = v1.split_frame(
            runner.code,
            race.slug,
            split.checkpoint_id,
            time=now_ms(),
            distance=passes.get(key, split.checkpoint.distance),
            at=milliseconds(split.time),
            uncertainty=split.uncertainty,
            pass_number=split.pass_number,
            corrected=True,
        )
        public = race.visibility == Race.Visibility.PUBLIC
        unsent = FollowerEvent(frame, None if public else race.pk)
        events.append(follower_event(runner, now_ms(), unsent))
    return events
