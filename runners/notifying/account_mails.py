"""Sends mails about accounts: resets, confirmations and changes.

Strangers cause them, so no call for help waits for more than one round of them. They
are kept in memory: whoever misses one asks again.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from django.core.mail import EmailMessage

from runners.notifying import mail_server
from runners.notifying.attempts import RETRY_S, Results
from runners.notifying.mail import EmailConnection

logger = logging.getLogger(__name__)

# Limit of the mails that wait, and how long each is attempted.
MAX_WAITING = 500
ATTEMPTS_FOR_S = 900.0


@dataclass(eq=False)
class AccountMail:
    """A mail that waits, with times of the monotonic clock."""

    message: EmailMessage
    until: float
    due_at: float = 0.0


class AccountMails:
    """The mails about accounts of this process."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._is_started = False
        # Requests append; only the thread of mails removes.
        self._waiting: list[AccountMail] = []
        self._server_at = 0.0

    def start(self) -> None:
        """Let mails wait for `send_due` from now on."""
        self._is_started = True

    def stop(self) -> None:
        """Let no more mails wait: from now on they are sent at once."""
        self._is_started = False

    def drop(self) -> None:
        """Lose the mails that still wait after the last `send_due`."""
        waiting, self._waiting = self._waiting, []
        self._lose(len(waiting), "the process stopped")

    def send_soon(self, message: EmailMessage) -> None:
        """Send a mail in the background: no request waits for it.

        Before the start and after the stop it is sent at once.
        """
        if not self._is_started:
            message.send()
        elif len(self._waiting) >= MAX_WAITING:
            self._lose(1, f"{MAX_WAITING} wait already")
        else:
            until = time.monotonic() + ATTEMPTS_FOR_S
            self._waiting.append(AccountMail(message, until))

    def send_due(self, stopping: threading.Event) -> bool:
        """Send due mails until `stopping`; return whether more may be due."""
        due = self._due()
        if not due:
            return False
        try:
            with mail_server.connected() as connection:
                for each in due:
                    if stopping.is_set():
                        return False
                    self._send(each, connection)
        except OSError:
            self._results.add_failed("unreachable")
            self._server_at = time.monotonic() + RETRY_S
            return False
        return len(due) == mail_server.MAIL_BATCH

    def _due(self) -> list[AccountMail]:
        """Return the next mails; drop those that are too old."""
        now = time.monotonic()
        waiting = list(self._waiting)
        old = [each for each in waiting if each.until <= now]
        for each in old:
            self._waiting.remove(each)
        self._lose(len(old), "the mail server did not accept them in time")
        if now < self._server_at:
            return []
        due = [each for each in waiting if each.due_at <= now < each.until]
        return sorted(due, key=lambda each: each.due_at)[: mail_server.MAIL_BATCH]

    def _send(self, each: AccountMail, connection: EmailConnection) -> None:
        """Send a mail; raises OSError if the server fails."""
        # Also after an OSError, which the mail itself may cause: others go first then.
        each.due_at = time.monotonic() + RETRY_S
        each.message.connection = connection
        failed = mail_server.send(each.message)
        self._results.add("mail", failed)
        if failed is None or failed.again is None:
            self._waiting.remove(each)

    def _lose(self, mails: int, why: str) -> None:
        if mails:
            logger.warning("Mails about accounts were lost, as %s: %d", why, mails)
            self._results.add_failed("lost", mails)
