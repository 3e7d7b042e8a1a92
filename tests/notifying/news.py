"""What happens on the course, and telling it."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from runners.models import Checkpoint, Entry
from runners.notifying.notifier import Notifier
from runners.positions.fix import milliseconds
from runners.positions.storage import SplitChange, write_rows


def passed(
    entry: Entry, checkpoint: Checkpoint, lap: int = 1, *, minutes_ago: float = 0
) -> None:
    """Store that a checkpoint was passed, as the recorder does."""
    at = milliseconds(timezone.now() - timedelta(minutes=minutes_ago))
    write_rows((), [SplitChange(entry.pk, checkpoint.pk, lap, at, 2.0)])


def tell(notifier: Notifier) -> None:
    """Do what the background does until nothing is left to be done now."""
    while notifier.push_turn():
        pass
