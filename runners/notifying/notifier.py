"""Delivers notifications in the background of a serving process.

Three threads work, so that a slow mail server delays no pushes, and slow push services
no calls for help. Deliveries are reserved in the database: one of several processes
sends each, and a different one takes over if that process dies.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from django.db import Error as DatabaseError
from django.db import connection as database
from django.db.models import F
from django.utils import timezone
from django.utils.translation import override

from runners.database import prepare_connection
from runners.models import Delivery, Subscription
from runners.models.news import Kind
from runners.notifying import deliveries, mail, mail_server, webhook_sender
from runners.notifying.account_mails import AccountMails
from runners.notifying.arrival_alerts import record_arrivals
from runners.notifying.attempts import RETRY_S, Failed, Job, Results
from runners.notifying.follower_rights import FollowerRights
from runners.notifying.mail import EmailConnection
from runners.notifying.push_services import UNREACHABLE_SKIP_S, PushServices
from runners.notifying.texts import Words, words_for_contact, words_of
from runners.positions.rate_limits import Bucket, Limits

logger = logging.getLogger(__name__)

# Time between two polls while nothing is due.
POLL_S = 1.0
# Limit of deliveries per round, except mails.
BATCH = 50
# How long the deliveries of a round are reserved for this process.
LEASE = timedelta(minutes=2)
# The rate of a process.
MESSAGES_PER_S = 50.0
BURST = 200.0
# The rate per subscription and process; an SOS is not limited.
SUBSCRIPTION_MESSAGES_PER_S = 1 / 20
SUBSCRIPTION_BURST = 20
# Delays after RETRY_S are three times as long each, up to this many times; attempts end
# when the news is too old.
MAX_TRIPLED = 3
# Deliveries that a subscription refuses in a row before it is deleted.
MAX_FAILURES = 5
STATES_INTERVAL_S = 30.0
ARRIVALS_INTERVAL_S = 10.0
TIDY_INTERVAL_S = 3_600.0


class Notifier:
    """Delivers this process's share of notifications."""

    def __init__(self) -> None:
        self.queued = 0
        self.results = Results()
        self.account_mails = AccountMails(self.results)
        self._push_services = PushServices()
        self._rate = Bucket(MESSAGES_PER_S, BURST)
        self._limits = Limits(SUBSCRIPTION_MESSAGES_PER_S, SUBSCRIPTION_BURST)
        self._states_at = self._arrivals_at = self._tidy_at = 0.0
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start delivering; a second call changes nothing."""
        if self._threads:
            return
        self._stopping.clear()
        self.account_mails.start()
        for name, turn in (
            ("push", self.push_turn),
            ("urgent", self.urgent_turn),
            ("mail", self.mail_turn),
        ):
            thread = threading.Thread(
                target=self._run, args=(turn,), name=f"notify-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Stop after the current delivery; the others stay in the database. Blocks."""
        self._stopping.set()
        self.account_mails.stop()
        for thread in self._threads:
            thread.join(timeout)
        self._threads.clear()
        self.account_mails.drop()

    def _run(self, turn: Callable[[], bool]) -> None:
        while not self._stopping.is_set():
            busy = False
            try:
                prepare_connection()
                busy = turn()
            except DatabaseError as error:
                logger.warning(
                    "Notifications are delayed, as the database failed: %s", error
                )
                database.close()
            except Exception:
                # Any error must not end the thread.
                logger.exception("Notifications could not be sent; trying again")
            if not busy:
                self._stopping.wait(POLL_S)
        database.close()

    def push_turn(self) -> bool:
        """Queue new deliveries, then send due pushes; return whether there were any."""
        now = time.monotonic()
        if now >= self._states_at:
            self._states_at = now + STATES_INTERVAL_S
            deliveries.record_states(timezone.now())
        if now >= self._arrivals_at:
            self._arrivals_at = now + ARRIVALS_INTERVAL_S
            self.queued += record_arrivals(timezone.now())
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_INTERVAL_S
            deliveries.tidy()
            webhook_sender.tidy()
            self._push_services.forget()
        queued = deliveries.spread()
        self.queued += queued
        batch = Delivery.objects.claim(by_mail=False, most=BATCH, lease=LEASE)
        jobs = self._jobs(batch)
        if jobs:
            self._stopping.wait(self._rate.take(len(jobs)))
            self._push_jobs(jobs)
        return bool(queued or batch)

    def urgent_turn(self) -> bool:
        """Send due calls for help, which wait for no round of other pushes."""
        queued = deliveries.spread()
        self.queued += queued
        batch = Delivery.objects.claim(
            by_mail=False, most=BATCH, lease=LEASE, only_urgent=True
        )
        if jobs := self._jobs(batch):
            self._push_jobs(jobs)
        return bool(queued or batch)

    def _push_jobs(self, jobs: Sequence[Job]) -> None:
        self._push_services.push(jobs)
        self._settle(jobs, "push")

    def mail_turn(self) -> bool:
        """Send due mails, first those of deliveries; return whether to go on at once.

        Strangers cause mails about accounts, which must not delay calls for help.
        """
        batch = Delivery.objects.claim(
            by_mail=True, most=mail_server.MAIL_BATCH, lease=LEASE
        )
        jobs = self._jobs(batch)
        if jobs:
            self._mail_all(jobs)
            self._settle(jobs, "mail")
        return self.account_mails.send_due(self._stopping) or bool(batch)

    # -- deliveries that are still due

    def _jobs(self, batch: Sequence[Delivery]) -> list[Job]:
        """Drop deliveries that are too old, unwanted or no longer allowed."""
        if not batch:
            return []
        now = timezone.now()
        dropped: dict[int, str] = {}
        jobs = []
        followers = [d for d in batch if d.contact is None]
        allowed = FollowerRights(followers)
        for delivery in batch:
            news = delivery.news
            reason = ""
            if deliveries.is_old(news.kind, news.at, now):
                reason = "old"
            elif _is_deactivated(delivery.subscription):
                reason = "rights"
            elif delivery.contact is None:
                reason = allowed.reason_against(delivery)
            if not reason and not self._in_time(delivery):
                reason = "rate"
            if reason:
                dropped[delivery.pk] = reason
            else:
                named = allowed.may_know_race(delivery)
                jobs.append(Job(delivery, _words(delivery, named=named)))
        if dropped:
            for reason in dropped.values():
                self.results.add_failed(reason)
            Delivery.objects.filter(pk__in=dropped).delete()
        return jobs

    def _in_time(self, delivery: Delivery) -> bool:
        if delivery.urgent or delivery.subscription_id is None or delivery.attempts > 1:
            return True
        return self._limits.of(delivery.subscription_id).take(1) == 0

    # -- mails

    def _mail_all(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.failed = Failed("unreachable", again=UNREACHABLE_SKIP_S)
        with contextlib.suppress(OSError), mail_server.connected() as connection:
            for job in jobs:
                if self._stopping.is_set():
                    job.failed = Failed("shutdown", again=0)
                else:
                    job.failed = _mail(job, connection)

    # -- results

    def _settle(self, jobs: Iterable[Job], channel: str) -> None:
        done: list[int] = []
        well: set[int] = set()
        ill: set[int] = set()
        gone: set[int] = set()
        for job in jobs:
            delivery, failed = job.delivery, job.failed
            subscription = delivery.subscription_id or 0
            self.results.add(channel, failed)
            if failed is None:
                done.append(delivery.pk)
                well.add(subscription)
                continue
            if failed.gone:
                gone.add(subscription)
                continue
            if failed.again is None:
                ill.add(subscription)
                done.append(delivery.pk)
                continue
            due_at = timezone.now() + _pause(delivery.attempts, failed.again)
            if deliveries.is_old(delivery.news.kind, delivery.news.at, due_at):
                self.results.add_failed("gave_up")
                done.append(delivery.pk)
            else:
                Delivery.objects.filter(pk=delivery.pk).update(due_at=due_at)
        Delivery.objects.filter(pk__in=done).delete()
        subscriptions = Subscription.objects.all()
        subscriptions.filter(pk__in=gone).delete()
        subscriptions.filter(pk__in=well, failures__gt=0).update(failures=0)
        subscriptions.filter(pk__in=ill).update(failures=F("failures") + 1)
        subscriptions.filter(pk__in=ill, failures__gte=MAX_FAILURES).delete()


def _pause(attempts: int, least: float) -> timedelta:
    return timedelta(seconds=max(least, RETRY_S * 3 ** min(attempts - 1, MAX_TRIPLED)))


def _words(delivery: Delivery, *, named: bool) -> Words:
    news = delivery.news
    with override(delivery.recipient.language):
        if delivery.contact is not None and news.sos is not None:
            return words_for_contact(news, news.sos)
        return words_of(news, named=named)


def _mail(job: Job, connection: EmailConnection) -> Failed | None:
    """Mail a delivery; raises OSError if the server fails, which ends the round."""
    recipient = job.delivery.recipient
    kind = Kind(job.delivery.news.kind)
    with override(recipient.language):
        return mail_server.send(
            mail.news_mail(kind, job.words, recipient.email, connection)
        )


def _is_deactivated(subscription: Subscription | None) -> bool:
    return (
        subscription is not None
        and subscription.user is not None
        and not subscription.user.is_active
    )
