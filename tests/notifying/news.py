"""Events of a race, and sending their notifications."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from runners.models import Checkpoint, Entry, Runner, Subscription
from runners.models.news import KINDS, Kind
from runners.notifying.notifier import Notifier
from runners.notifying.sos import contact_add
from runners.notifying.subscribing import address_confirm, alerts_set
from runners.positions.storage import SplitChange, write_rows
from runners.units.clock import milliseconds
from tests.notifying.push import PushService


def alert(subscription: Subscription, runner: Runner, *kinds: Kind) -> None:
    """Subscribe to news of a runner: to these kinds, or to all."""
    alerts_set(subscription=subscription, runners=[runner], kinds=kinds or KINDS)


def mail_contact(runner: Runner, email: str, language: str = "en") -> None:
    """Add a contact by email address, and confirm the address."""
    address_confirm(
        recipient=contact_add(runner=runner, email=email, user=None, language=language)
    )


def passed(
    entry: Entry, checkpoint: Checkpoint, lap: int = 1, *, minutes_ago: float = 0
) -> None:
    """Store a pass of a checkpoint, as the recorder does."""
    at = milliseconds(timezone.now() - timedelta(minutes=minutes_ago))
    write_rows((), [SplitChange(entry.pk, checkpoint.pk, lap, at, 2.0)])


def send_all(notifier: Notifier) -> None:
    """Send all notifications that are pending now."""
    while notifier.push_turn():
        pass


@dataclass
class NotifiedRace:
    """Bob's race with a checkpoint at 10 km, a notifier and a push service."""

    entry: Entry
    ten: Checkpoint
    notifier: Notifier
    service: PushService

    def passed(self, lap: int = 1, *, minutes_ago: float = 0) -> None:
        """Let Bob pass 10 km."""
        passed(self.entry, self.ten, lap, minutes_ago=minutes_ago)

    def send(self) -> None:
        """Send all notifications."""
        send_all(self.notifier)

    def pass_ten(self, lap: int = 1) -> None:
        """Let Bob pass 10 km, and send all notifications."""
        self.passed(lap)
        self.send()
