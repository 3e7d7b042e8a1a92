"""The results of attempts to deliver a notification."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from runners.models import Delivery
from runners.notifying.texts import Words

# The delay of the second attempt.
RETRY_S = 10.0


@dataclass(frozen=True)
class Failed:
    """Why an attempt failed.

    `again`: seconds until the next attempt, None for never. `gone`: the place does not
    exist any more.
    """

    reason: str
    again: float | None = None
    gone: bool = False


@dataclass
class Job:
    """A delivery that is due, and its text."""

    delivery: Delivery
    words: Words
    failed: Failed | None = None


class Results:
    """Counts successes by channel and failures by reason, for several threads."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, channel: str, failed: Failed | None) -> None:
        """Count an attempt."""
        if failed is not None:
            self.add_failed(failed.reason)
        else:
            with self._lock:
                self.sent[channel] += 1

    def add_failed(self, reason: str, times: int = 1) -> None:
        with self._lock:
            self.failed[reason] += times
