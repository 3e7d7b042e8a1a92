"""Sets the status and the splits of entries, regardless of their phones."""

from __future__ import annotations

from runners.models import Checkpoint, Entry, RightsChange, Split

Status = Entry.Status


def entry_mark(*, entry: Entry, status: str) -> None:
    """Set an entry's status; times that contradict it are removed."""
    entry.status = status
    if status != Status.FINISHED:
        entry.finished_at = None
    if status in (Status.REGISTERED, Status.DNS):
        entry.started_at = None
    entry.save(update_fields=["status", "started_at", "finished_at", "changed_at"])


def split_set(*, split: Split) -> None:
    """Record that a split was set by hand, which may start or finish its entry.

    Call it in the transaction that sets the split.
    """
    RightsChange.objects.note(RightsChange.Kind.SPLIT, [split.pk])
    entry, kind = split.entry, split.checkpoint.kind
    if kind == Checkpoint.Kind.START:
        entry.started_at = split.time
        if entry.status in (Status.REGISTERED, Status.DNS):
            entry.status = Status.STARTED
    elif kind == Checkpoint.Kind.FINISH:
        entry.finished_at = split.time
        entry.status = Status.FINISHED
    # Followers' pages poll entries that have changed.
    entry.save(update_fields=["status", "started_at", "finished_at", "changed_at"])
