"""Sets the status and the splits of entries, regardless of their phones."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from runners.models import Checkpoint, Entry, News, RightsChange, Split
from runners.models.news import Kind
from runners.units.clock import milliseconds

Status = Entry.Status


def entry_mark(*, entry: Entry, status: str) -> None:
    """Set an entry's status; times that contradict it are removed."""
    entry.status = status
    if status != Status.FINISHED:
        entry.finished_at = None
    if status in (Status.REGISTERED, Status.DNS):
        entry.started_at = None
    entry.save(update_fields=["status", "started_at", "finished_at", "changed_at"])
    if status in Entry.OUT:
        # Told again when it happens again.
        repetition = milliseconds(entry.changed_at)
        News.objects.tell_of_entry(
            Kind.OUT, entry.pk, entry.changed_at, pass_number=repetition
        )
    else:
        News.objects.tell_of_changes([entry])


def splits_set(*, splits: Iterable[Split]) -> None:
    """Record that splits were set by hand, which may start or finish their entries.

    Call it in the transaction that sets the splits. Their entries are shared objects
    if an entry has several.
    """
    splits = list(splits)
    RightsChange.objects.note(RightsChange.Kind.SPLIT, [split.pk for split in splits])
    entries = {split.entry.pk: split.entry for split in splits}
    for split in splits:
        _apply_split(split, entries[split.entry.pk])
    for entry in entries.values():
        # Followers' pages poll entries that have changed.
        entry.save(update_fields=["status", "started_at", "finished_at", "changed_at"])
    for split in splits:
        _tell_of_split(split)


def _tell_of_split(split: Split) -> None:
    entry, time = split.entry_id, split.time
    match split.checkpoint.kind:
        case Checkpoint.Kind.START:
            News.objects.tell_of_entry(Kind.START, entry, time)
        case Checkpoint.Kind.FINISH:
            News.objects.tell_of_entry(Kind.FINISH, entry, time)
        case _:
            News.objects.tell_of_entry(
                Kind.CHECKPOINT,
                entry,
                time,
                checkpoint=split.checkpoint_id,
                pass_number=split.pass_number,
            )


def _apply_split(split: Split, entry: Entry) -> None:
    kind = split.checkpoint.kind
    if entry.status == Status.DSQ:
        return
    if kind == Checkpoint.Kind.START:
        entry.started_at = split.time
        if entry.status in (Status.REGISTERED, Status.DNS):
            entry.status = Status.STARTED
    elif kind == Checkpoint.Kind.FINISH:
        entry.finished_at = split.time
        entry.status = Status.FINISHED


class HandSplit(NamedTuple):
    """A time that an organiser has taken."""

    entry: Entry
    checkpoint: Checkpoint
    pass_number: int
    time: datetime


@transaction.atomic
def splits_set_by_hand(*, times: Iterable[HandSplit]) -> tuple[int, int, int]:
    """Store times; return how many are new, changed and as before."""
    times = list(times)
    locked = Entry.objects.lock({time.entry.pk for time in times})
    entries = {entry.pk: entry for entry in locked}
    stored = {
        (split.entry_id, split.checkpoint_id, split.pass_number): split
        for split in Split.objects.filter(entry__in={t.entry.pk for t in times})
    }
    new: list[Split] = []
    changed: list[Split] = []
    for entry, checkpoint, number, time in times:
        split = stored.get((entry.pk, checkpoint.pk, number))
        if split is not None and split.by_hand and split.time == time:
            continue
        into = new if split is None else changed
        split = split or Split(pass_number=number)
        split.entry, split.checkpoint = entries[entry.pk], checkpoint
        split.time = time
        split.by_hand, split.uncertainty = True, 0
        into.append(split)
    Split.objects.bulk_create(new)
    Split.objects.bulk_update(changed, ["time", "by_hand", "uncertainty"])
    splits_set(splits=[*new, *changed])
    return len(new), len(changed), len(times) - len(new) - len(changed)
