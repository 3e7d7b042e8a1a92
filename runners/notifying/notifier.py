"""Delivers notifications in the background of a serving process.

Three threads work, so that a slow mail server delays no pushes, and slow push services
no calls for help. Deliveries are
reserved in the database: one of several processes sends each, and a different one takes
over if that process dies.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import orjson
from django.core import mail as django_mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import F
from django.utils import timezone
from django.utils.translation import override

from runners.database import prepare_connection
from runners.models import Alert, ArrivalAlert, Delivery, Subscription
from runners.models.news import Kind
from runners.notifying import deliveries, mail, webhook_sender, webpush
from runners.notifying.arrival_alerts import record_arrivals
from runners.notifying.endpoints import Answer, EndpointRefused, post
from runners.notifying.texts import Words, words_for_contact, words_of
from runners.positions.rate_limits import Bucket, Limits
from runners.rights.access import visible_runners
from runners.rights.windows import visible_races

logger = logging.getLogger(__name__)

# Time between two polls while nothing is due.
POLL_S = 1.0
# Limit of deliveries per round. Mails are sent one by one, and an SOS is the first of a
# round. Mails about accounts follow, MAIL_BATCH as well.
BATCH = 50
MAIL_BATCH = 10
# How long the deliveries of a round are reserved for this process.
LEASE = timedelta(minutes=2)
# The rate of a process.
MESSAGES_PER_S = 50.0
BURST = 200.0
# The rate per subscription and process; an SOS is not limited.
SUBSCRIPTION_MESSAGES_PER_S = 1 / 20
SUBSCRIPTION_BURST = 20
# The time-out of each step of a mail server.
MAIL_TIMEOUT_S = 20
# Mails about accounts that wait, and how long each is attempted. They are kept in
# memory: whoever misses one asks again.
MAX_ACCOUNT_MAILS = 500
ACCOUNT_MAIL_FOR_S = 900.0
# The delay of the second attempt. Further delays are three times as long each, up to
# MAX_TRIPLED times; attempts end when the news is too old.
RETRY_S = 10.0
MAX_TRIPLED = 3
# A push service is skipped for a time after this many subscriptions of it have not
# responded in a row: a single one may be anybody's.
AWAY_AFTER = 3
UNREACHABLE_SKIP_S = 30.0
# Deliveries that a subscription refuses in a row before it is deleted.
MAX_FAILURES = 5
STATES_INTERVAL_S = 30.0
ARRIVALS_INTERVAL_S = 10.0
TIDY_INTERVAL_S = 3_600.0


class Failed(Exception):
    """A delivery that failed.

    `again`: seconds until the next attempt, None for never. `gone`: the place does not
    exist any more.
    """

    def __init__(
        self, reason: str, *, again: float | None = None, gone: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.gone = gone


@dataclass
class Job:
    """A delivery that is due, and its text."""

    delivery: Delivery
    words: Words
    failed: Failed | None = None


@dataclass(eq=False)
class AccountMail:
    """A mail about an account that waits, with times of the monotonic clock."""

    message: EmailMessage
    until: float
    due_at: float = 0.0


class Notifier:
    """Delivers this process's share of notifications."""

    def __init__(self) -> None:
        self.is_running = False
        self.queued = 0
        self.sent: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._rate = Bucket(MESSAGES_PER_S, BURST)
        self._limits = Limits(SUBSCRIPTION_MESSAGES_PER_S, SUBSCRIPTION_BURST)
        # Subscriptions that did not respond since the last response of their host, and
        # the time until which a host is skipped.
        self._silent: dict[str, set[int]] = defaultdict(set)
        self._away: dict[str, float] = {}
        # For the counters, as two threads push.
        self._lock = threading.Lock()
        # Requests append; only the thread of mails removes.
        self._account_mails: list[AccountMail] = []
        self._account_mails_at = 0.0
        self._states_at = self._arrivals_at = self._tidy_at = 0.0
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start delivering; a second call changes nothing."""
        if not self.is_running:
            self.is_running = True
            self._stopping.clear()
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
        """Stop after the current delivery; the others stay in the database. Blocks.

        Mails about accounts that wait are lost.
        """
        self.is_running = False
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout)
        self._threads.clear()
        self._lose(len(self._account_mails), "the process stopped")
        self._account_mails.clear()

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
                connection.close()
            except Exception:
                # Any error must not end the thread.
                logger.exception("Notifications could not be sent; trying again")
            if not busy:
                self._stopping.wait(POLL_S)
        connection.close()

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
            self._silent.clear()
            self._away.clear()
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
        # The ORM refuses to run in a thread with an event loop, so each round has a new
        # one.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._push_all(jobs))
        self._settle(jobs, "push")

    def mail_soon(self, message: EmailMessage) -> None:
        """Send a mail about an account in the background: no request waits for it.

        Before the start, as in commands, it is sent at once.
        """
        if not self.is_running:
            message.send()
        elif len(self._account_mails) >= MAX_ACCOUNT_MAILS:
            self._lose(1, f"{MAX_ACCOUNT_MAILS} wait already")
        else:
            until = time.monotonic() + ACCOUNT_MAIL_FOR_S
            self._account_mails.append(AccountMail(message, until))

    def _lose(self, mails: int, why: str) -> None:
        if mails:
            logger.warning("Mails about accounts were lost, as %s: %d", why, mails)
            self._count(self.failed, "lost", mails)

    def mail_turn(self) -> bool:
        """Send due mails, first those of deliveries; return whether to go on at once.

        Strangers cause mails about accounts, which must not delay calls for help.
        """
        batch = Delivery.objects.claim(by_mail=True, most=MAIL_BATCH, lease=LEASE)
        jobs = self._jobs(batch)
        if jobs:
            self._mail_all(jobs)
            self._settle(jobs, "mail")
        return self._mail_accounts() or bool(batch)

    def _mail_accounts(self) -> bool:
        """Send due mails about accounts; return whether more may be due."""
        due = self._due_account_mails()
        if not due:
            return False
        backend = django_mail.get_connection(timeout=MAIL_TIMEOUT_S)
        try:
            backend.open()
            for each in due:
                if self._stopping.is_set():
                    return False
                self._mail_account(each, backend)
        except OSError as error:
            _warn_unreachable(error)
            self._count(self.failed, "unreachable")
            self._account_mails_at = time.monotonic() + RETRY_S
            return False
        finally:
            backend.close()
        return len(due) == MAIL_BATCH

    def _due_account_mails(self) -> list[AccountMail]:
        """Return the next mails about accounts; drop those that are too old."""
        now = time.monotonic()
        waiting = list(self._account_mails)
        old = [each for each in waiting if each.until <= now]
        for each in old:
            self._account_mails.remove(each)
        self._lose(len(old), "the mail server did not accept them in time")
        if now < self._account_mails_at:
            return []
        due = [each for each in waiting if each.due_at <= now < each.until]
        return sorted(due, key=lambda each: each.due_at)[:MAIL_BATCH]

    def _mail_account(self, each: AccountMail, backend: BaseEmailBackend) -> None:
        """Send a mail about an account; raises OSError if the server fails."""
        # Also after an OSError, which the mail itself may cause: others go first then.
        each.due_at = time.monotonic() + RETRY_S
        each.message.connection = backend
        failed = _send(each.message)
        if failed is None:
            self._count(self.sent, "mail")
        else:
            self._count(self.failed, failed.reason)
        if failed is None or failed.again is None:
            self._account_mails.remove(each)

    # -- deliveries that are still due

    def _jobs(self, batch: Sequence[Delivery]) -> list[Job]:
        """Drop deliveries that are too old, unwanted or no longer allowed."""
        if not batch:
            return []
        now = timezone.now()
        dropped: dict[int, str] = {}
        jobs = []
        followers = [d for d in batch if d.contact is None]
        allowed = _Rights(followers)
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
                self._count(self.failed, reason)
            Delivery.objects.filter(pk__in=dropped).delete()
        return jobs

    def _in_time(self, delivery: Delivery) -> bool:
        if delivery.urgent or delivery.subscription_id is None or delivery.attempts > 1:
            return True
        return self._limits.of(delivery.subscription_id).take(1) == 0

    # -- sending

    async def _push_all(self, jobs: Sequence[Job]) -> None:
        await asyncio.gather(*(self._push(job) for job in jobs))

    async def _push(self, job: Job) -> None:
        subscription = job.delivery.subscription
        assert subscription is not None
        host = urlsplit(subscription.endpoint).netloc
        now = time.monotonic()
        until = self._away.get(host, now)
        if until > now and not job.delivery.urgent:
            job.failed = Failed("unreachable", again=until - now)
            return
        try:
            answer = await post(
                subscription.endpoint, *self._message(job, subscription)
            )
        except EndpointRefused:
            job.failed = Failed("private", gone=True)
        except (OSError, TimeoutError):
            self._silent[host].add(subscription.pk)
            if len(self._silent[host]) >= AWAY_AFTER:
                self._away[host] = now + UNREACHABLE_SKIP_S
            job.failed = Failed("unreachable", again=UNREACHABLE_SKIP_S)
        except Exception:
            logger.exception("A push message could not be created")
            job.failed = Failed("error")
        else:
            self._silent.pop(host, None)
            self._away.pop(host, None)
            job.failed = _failure_of(answer)

    def _message(
        self, job: Job, subscription: Subscription
    ) -> tuple[dict[str, str], bytes]:
        news = job.delivery.news
        remaining = news.at + deliveries.NEWS_FOR[Kind(news.kind)] - timezone.now()
        headers = webpush.headers(
            subscription.endpoint,
            ttl=max(0, int(remaining.total_seconds())),
            # A phone that sleeps would get the notification after the runner.
            urgent=job.delivery.urgent or news.kind == Kind.ARRIVAL,
            topic=news.once,
        )
        payload = {
            **job.words._asdict(),
            "tag": news.once,
            "runner": news.runner.code,
            "at": int(news.at.timestamp() * 1000),
            "urgent": job.delivery.urgent,
        }
        body = webpush.encrypt(
            orjson.dumps(payload), p256dh=subscription.p256dh, auth=subscription.auth
        )
        return headers, body

    def _mail_all(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.failed = Failed("unreachable", again=UNREACHABLE_SKIP_S)
        backend = django_mail.get_connection(timeout=MAIL_TIMEOUT_S)
        try:
            backend.open()
            for job in jobs:
                if self._stopping.is_set():
                    job.failed = Failed("shutdown", again=0)
                else:
                    job.failed = _mail(job, backend)
        except OSError as error:
            _warn_unreachable(error)
        finally:
            backend.close()

    # -- results

    def _settle(self, jobs: Iterable[Job], channel: str) -> None:
        done: list[int] = []
        well: set[int] = set()
        ill: set[int] = set()
        gone: set[int] = set()
        for job in jobs:
            delivery, failed = job.delivery, job.failed
            subscription = delivery.subscription_id or 0
            if failed is None:
                self._count(self.sent, channel)
                done.append(delivery.pk)
                well.add(subscription)
                continue
            self._count(self.failed, failed.reason)
            if failed.gone:
                gone.add(subscription)
                continue
            if failed.again is None:
                ill.add(subscription)
                done.append(delivery.pk)
                continue
            due_at = timezone.now() + _pause(delivery.attempts, failed.again)
            if deliveries.is_old(delivery.news.kind, delivery.news.at, due_at):
                self._count(self.failed, "gave_up")
                done.append(delivery.pk)
            else:
                Delivery.objects.filter(pk=delivery.pk).update(due_at=due_at)
        Delivery.objects.filter(pk__in=done).delete()
        subscriptions = Subscription.objects.all()
        subscriptions.filter(pk__in=gone).delete()
        subscriptions.filter(pk__in=well, failures__gt=0).update(failures=0)
        subscriptions.filter(pk__in=ill).update(failures=F("failures") + 1)
        subscriptions.filter(pk__in=ill, failures__gte=MAX_FAILURES).delete()

    def _count(self, counter: Counter[str], key: str, times: int = 1) -> None:
        with self._lock:
            counter[key] += times


def _failure_of(answer: Answer) -> Failed | None:
    """Evaluate the response of a push service."""
    status = answer.status
    if 200 <= status < 300:
        return None
    if status in (404, 410):
        return Failed("gone", gone=True)
    if status == 429 or status >= 500:
        return Failed("busy", again=answer.retry_after)
    # Includes redirects: a push service sends none.
    return Failed("refused")


def _pause(attempts: int, least: float) -> timedelta:
    return timedelta(seconds=max(least, RETRY_S * 3 ** min(attempts - 1, MAX_TRIPLED)))


def _words(delivery: Delivery, *, named: bool) -> Words:
    news = delivery.news
    with override(delivery.recipient.language):
        if delivery.contact is not None and news.sos is not None:
            return words_for_contact(news, news.sos)
        return words_of(news, named=named)


def _mail(job: Job, backend: BaseEmailBackend) -> Failed | None:
    """Mail a delivery; raises OSError if the server fails, which ends the round."""
    recipient = job.delivery.recipient
    kind = Kind(job.delivery.news.kind)
    with override(recipient.language):
        return _send(mail.news_mail(kind, job.words, recipient.email, backend))


def _send(message: EmailMessage) -> Failed | None:
    """Send a mail; raises OSError if the server fails."""
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        # Statuses below 500 are temporary: many mail servers let strangers retry.
        if any(code < 500 for code, _ in error.recipients.values()):
            return Failed("busy", again=RETRY_S)
        return Failed("refused")
    except smtplib.SMTPResponseException as error:
        logger.warning("The mail server did not accept a mail; trying again: %s", error)
        return Failed("busy", again=RETRY_S)
    except OSError:
        raise
    except Exception:
        logger.exception("A mail could not be created")
        return Failed("error")
    return None


def _warn_unreachable(error: OSError) -> None:
    logger.warning("The mail server cannot be reached; check EMAIL_URL: %s", error)


def _is_deactivated(subscription: Subscription | None) -> bool:
    return (
        subscription is not None
        and subscription.user is not None
        and not subscription.user.is_active
    )


class _Rights:
    """Alerts and rights of a batch's followers now, as on a live page.

    Causes two queries, and two for each account or link in the batch.
    """

    def __init__(self, batch: Sequence[Delivery]) -> None:
        subscriptions = {d.subscription_id for d in batch}
        runners_told = {d.news.runner_id for d in batch}
        self._alerts = {
            (alert.subscription_id, alert.runner_id): alert
            for alert in Alert.objects.filter(
                subscription__in=subscriptions, runner__in=runners_told
            )
        }
        self._arrival_alerts = {
            (alert.subscription_id, alert.entry.runner_id): alert
            for alert in ArrivalAlert.objects.filter(
                subscription__in=subscriptions, entry__runner__in=runners_told
            ).select_related("entry")
        }
        runners: dict[tuple[int | None, int | None], set[int]] = defaultdict(set)
        races: dict[int | None, set[int]] = defaultdict(set)
        for delivery in batch:
            if (viewer := self._viewer(delivery)) is not None:
                runners[viewer].add(delivery.news.runner_id)
                if delivery.news.entry is not None:
                    races[viewer[1]].add(delivery.news.entry.race_id)
        self._runners = {
            viewer: set(
                visible_runners(viewer[0], _links(viewer[1]))
                .filter(pk__in=of)
                .values_list("pk", flat=True)
            )
            for viewer, of in runners.items()
        }
        self._races = {
            link: set(
                visible_races(_links(link))
                .filter(pk__in=of)
                .values_list("pk", flat=True)
            )
            for link, of in races.items()
        }

    def _viewer(self, delivery: Delivery) -> tuple[int | None, int | None] | None:
        """Return the account and links by which a follower sees a delivery's runner."""
        alert = self._alert(delivery)
        subscription = delivery.subscription
        if alert is None or subscription is None:
            return None
        return subscription.user_id, alert.link_id

    def _alert(self, delivery: Delivery) -> Alert | ArrivalAlert | None:
        key = delivery.subscription_id or 0, delivery.news.runner_id
        if delivery.news.kind == Kind.ARRIVAL:
            return self._arrival_alerts.get(key)
        alert, kind = self._alerts.get(key), delivery.news.kind
        chosen = getattr(alert, Kind.SOS if kind == Kind.FINE else kind, False)
        return alert if chosen else None

    def reason_against(self, delivery: Delivery) -> str:
        """Return why a follower is not notified, or ""."""
        news, subscription = delivery.news, delivery.subscription
        viewer = self._viewer(delivery)
        if subscription is None or viewer is None:
            return "stopped"
        if news.runner_id not in self._runners[viewer]:
            return "rights"
        # A place reveals an unlisted race.
        places = news.kind in (Kind.CHECKPOINT, Kind.ARRIVAL)
        if places and not self.may_know_race(delivery):
            return "rights"
        return ""

    def may_know_race(self, delivery: Delivery) -> bool:
        """Return whether a follower may know the race."""
        entry, viewer = delivery.news.entry, self._viewer(delivery)
        if entry is None or viewer is None:
            return False
        return entry.race_id in self._races[viewer[1]]


def _links(link: int | None) -> tuple[int, ...]:
    return () if link is None else (link,)
