"""Set what became of an entry, whatever its phone says."""

from __future__ import annotations

from runners.models import Entry

Status = Entry.Status


def entry_mark(*, entry: Entry, status: str) -> None:
    """Set an entry's status; times that contradict it are taken away."""
    entry.status = status
    if status != Status.FINISHED:
        entry.finished_at = None
    if status in (Status.REGISTERED, Status.DNS):
        entry.started_at = None
    entry.save(update_fields=["status", "started_at", "finished_at", "changed_at"])
