"""Creates deliveries of news for all who want to be notified."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from runners.models import (
    Alert,
    ArrivalAlert,
    Checkpoint,
    Contact,
    Delivery,
    Entry,
    LatestPosition,
    News,
    Pause,
    Runner,
    Subscription,
    Webhook,
)
from runners.models.news import Kind
from runners.notifying.webhooks import queue_messages
from runners.units.clock import milliseconds, moment_of

# Older news is no longer delivered.
NEWS_FOR = {
    Kind.START: timedelta(minutes=15),
    Kind.CHECKPOINT: timedelta(minutes=15),
    Kind.FINISH: timedelta(hours=2),
    Kind.SILENCE: timedelta(minutes=30),
    Kind.SOS: timedelta(days=1),
    Kind.FINE: timedelta(days=1),
    Kind.ARRIVAL: timedelta(minutes=3),
    Kind.OUT: timedelta(hours=2),
    Kind.OFF_COURSE: timedelta(minutes=30),
    Kind.CHANGED: timedelta(hours=2),
}
URGENT = (Kind.SOS, Kind.FINE)
# A runner in a race is silent when nothing has arrived for this long.
SILENT_AFTER = timedelta(minutes=10)
# News items per transaction.
BATCH = 200
# How long delivered news is kept, so that it is not repeated.
REMEMBERED = timedelta(days=2)
# The age at which unconfirmed addresses are deleted, and browsers without an account or
# alerts.
UNCONFIRMED_FOR = timedelta(days=4)


def is_old(kind: str, at: datetime, now: datetime) -> bool:
    """Return whether news is too old to be delivered."""
    return now - at > NEWS_FOR[Kind(kind)]


def spread() -> int:
    """Queue deliveries of new news; return their number."""
    waiting = News.objects.filter(spread_at=None)
    if not waiting.exists():
        return 0
    now = timezone.now()
    with transaction.atomic():
        batch = list(
            waiting.order_by("created_at").select_for_update(skip_locked=True)[:BATCH]
        )
        told = _told(batch)
        queue_messages(told)
        deliveries = _deliveries([n for n in told if not is_old(n.kind, n.at, now)])
        made = Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)
        News.objects.filter(pk__in=[news.pk for news in batch]).update(spread_at=now)
    return len(made)


def _told(batch: list[News]) -> list[News]:
    """Return all but splits at the start and finish, which have kinds of their own."""
    splits = set(
        Checkpoint.objects.filter(
            pk__in=[news.checkpoint_id for news in batch], kind=Checkpoint.Kind.SPLIT
        ).values_list("pk", flat=True)
    )
    return [n for n in batch if n.kind != Kind.CHECKPOINT or n.checkpoint_id in splits]


def _deliveries(batch: list[News]) -> list[Delivery]:
    runners = {news.runner_id for news in batch}
    alerts: dict[int, list[Alert]] = defaultdict(list)
    for alert in Alert.objects.filter(
        runner__in=runners, subscription__confirmed_at__isnull=False
    ).select_related("subscription"):
        alerts[alert.runner_id].append(alert)
    deliveries = []
    for news in batch:
        urgent = news.kind in URGENT
        if urgent:
            # Contacts come first, because a contact who is also a follower gets the
            # position.
            deliveries += _to_contacts(news)
        field = Kind.SOS if news.kind == Kind.FINE else news.kind
        for alert in alerts[news.runner_id]:
            if getattr(alert, field, False):
                subscription = alert.subscription
                deliveries.append(
                    Delivery(
                        news=news,
                        subscription=subscription,
                        by_mail=bool(subscription.email),
                        urgent=urgent,
                    )
                )
    return deliveries


def _to_contacts(news: News) -> list[Delivery]:
    contacts = list(Contact.objects.filter(runner=news.runner_id))
    by_user = {contact.user_id: contact for contact in contacts if contact.user_id}
    found = [
        Delivery(news=news, contact=contact, by_mail=True, urgent=True)
        for contact in contacts
        if contact.email and contact.confirmed_at
    ]
    subscriptions = Subscription.objects.filter(
        user__in=by_user, confirmed_at__isnull=False
    )
    return found + [
        Delivery(
            news=news,
            subscription=subscription,
            contact=by_user[subscription.user_id],
            by_mail=bool(subscription.email),
            urgent=True,
        )
        for subscription in subscriptions
        if subscription.user_id
    ]


def record_states(now: datetime) -> None:
    """Create news about runners in a race who are silent or off course.

    A runner who becomes silent again after a signal, or leaves the course again, causes
    new news.
    """
    running = (
        Entry.objects.open_at(now)
        .filter(runner=OuterRef("runner"), status=Entry.Status.STARTED)
        .order_by("-race__start")
    )
    watched = Exists(running.filter(race__in=Webhook.objects.watched_races()))
    paused = Pause.objects.filter(runner=OuterRef("runner"), ended_at=None)
    present = LatestPosition.objects.filter(
        Exists(running), ~Exists(paused), runner__in=Runner.objects.sharing()
    ).annotate(entry=running.values("pk")[:1])
    News.objects.bulk_create(
        [*_silences(present, watched, now), *_off_course(present.filter(watched), now)],
        ignore_conflicts=True,
    )


def _silences(present: QuerySet[Any], watched: Exists, now: datetime) -> Iterator[News]:
    wanted = Alert.objects.filter(runner=OuterRef("runner"), silence=True)
    silent = present.filter(
        Exists(wanted) | watched,
        contact_at__lt=now - SILENT_AFTER,
        contact_at__gte=now - NEWS_FOR[Kind.SILENCE],
    )
    for runner, entry, at in silent.values_list("pk", "entry", "contact_at"):
        yield _news(Kind.SILENCE, runner, entry, at)


def _off_course(present: QuerySet[Any], now: datetime) -> Iterator[News]:
    lost = present.filter(
        race_state__state__s="off_course",
        recorded_at__gte=now - NEWS_FOR[Kind.OFF_COURSE],
    )
    # `os` is when the runner left the course, in ms.
    for runner, entry, of, since in lost.values_list(
        "pk", "entry", "race_state__entry", "race_state__state__os"
    ):
        # The phone may have been in a different race since.
        if entry == of:
            at = moment_of(since)
            yield _news(Kind.OFF_COURSE, runner, entry, at)


def _news(kind: Kind, runner: int, entry: int, at: datetime) -> News:
    once = f"{kind} {entry} {milliseconds(at)}"
    return News(kind=kind, once=once, runner_id=runner, entry_id=entry, at=at)


def tidy() -> None:
    """Delete old news, and places without any alert."""
    now = timezone.now()
    News.objects.filter(created_at__lt=now - REMEMBERED).delete()
    idle = Subscription.objects.filter(created_at__lt=now - UNCONFIRMED_FOR)
    idle.filter(confirmed_at=None).delete()
    idle.filter(user=None, alerts=None, arrival_alerts=None).delete()
    ArrivalAlert.objects.filter(entry__race__ends__lt=now).delete()
    ended = Alert.objects.filter(link__isnull=False)
    ended.filter(link__expires_at__lt=now).delete()
    ended.filter(link__revoked_at__isnull=False).delete()
