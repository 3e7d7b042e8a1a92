"""Followers who are notified shortly before a runner passes a place of their choice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from runners.models import (
    ArrivalAlert,
    Delivery,
    Entry,
    News,
    Race,
    ShareLink,
    Subscription,
)
from runners.models.news import Kind
from runners.quotas import over_quota
from runners.races.arrival.eta import arrivals
from runners.races.race_data import ground_of, known_of, rows_of, samples_of
from runners.units.errors import CodedError

# How long before a pass a follower is notified.
WARNINGS_MIN = (1, 5)
MINUTE_S = 60.0
# Limit of the passes of one browser: a place on a course in laps, for my runners.
MAX_PASSES = 500
# Limit of the distances of one browser: the passes of a place.
MAX_DISTANCES = 100
# Choices of one browser per period, each of which may write `MAX_PASSES` rows.
MAX_CHOICES = 30
PERIOD_S = 60
# Limit of the alerts of a turn; a turn later the next ones follow.
MAX_DUE = 5_000


@transaction.atomic
def arrival_alerts_set(
    *,
    subscription: Subscription,
    chosen: Iterable[tuple[Iterable[Entry], ShareLink | None]],
    distances: Sequence[float],
) -> None:
    """Replace the passes of which a browser is notified.

    `chosen` are entries, with the link by which the follower sees their runners;
    `distances` are in metres along the course. Raises `CodedError`.
    """
    seen = [(entry, link) for entries, link in chosen for entry in entries]
    # Without runners, a browser stops its alerts.
    if seen:
        _check_limits(subscription, len(seen), len(distances))
    subscription.arrival_alerts.all().delete()
    ArrivalAlert.objects.bulk_create(
        ArrivalAlert(
            subscription=subscription, entry=entry, link=link, distance=distance
        )
        for entry, link in seen
        for distance in distances
    )


def _check_limits(subscription: Subscription, entries: int, distances: int) -> None:
    if over_quota(f"arrivals of {subscription.pk}", MAX_CHOICES, PERIOD_S):
        detail = _("Too many requests. Try again in a moment.")
        raise CodedError("rate.limited", detail)
    if distances > MAX_DISTANCES:
        detail = _(
            "Choose a different place: runners may pass it at most {count} times."
        )
        raise CodedError("alerts.limit", detail.format(count=MAX_DISTANCES))
    if entries * distances > MAX_PASSES:
        detail = _("Choose fewer runners: at most {count} arrivals are notified.")
        raise CodedError("alerts.limit", detail.format(count=MAX_PASSES))


def record_arrivals(now: datetime) -> int:
    """Create news and deliveries of passes that are due; return their number.

    Causes a query while nobody waits, otherwise up to nine more for each race. Reads
    the passes that somebody waits for, however many do, and the alerts that are due,
    at most `MAX_DUE` of a race.
    """
    awaited = _waiting().filter(entry__race=OuterRef("pk"))
    races = Race.objects.filter(Exists(awaited), ends__gte=now).defer("line")
    return sum(
        _notify(alert, minutes, at, now)
        for race in races
        # Read before the first is written: with a query open, SQLite refuses to write
        # after the commit of a different connection.
        for alert, minutes, at in list(islice(_due(race, now), MAX_DUE))
    )


def _waiting(minutes: int = min(WARNINGS_MIN)) -> QuerySet[ArrivalAlert]:
    """Return the alerts of running runners without a notification of these minutes."""
    return ArrivalAlert.objects.filter(
        Q(warned=None) | Q(warned__gt=minutes),
        entry__in=Entry.objects.shown().filter(status=Entry.Status.STARTED),
    )


def _due(race: Race, now: datetime) -> Iterator[tuple[ArrivalAlert, int, datetime]]:
    """Find the alerts that are due, the minutes left and the time of the pass."""
    due: dict[int, dict[tuple[int, float], float]] = defaultdict(dict)
    for passing, at in _expected(race, now).items():
        left = (at - now.timestamp()) / MINUTE_S
        if minutes := next((n for n in WARNINGS_MIN if left <= n), None):
            due[minutes][passing] = at
    for minutes, passes in sorted(due.items()):
        entries = {entry for entry, _ in passes}
        unsent = _waiting(minutes).filter(entry__in=entries).select_related("entry")
        for alert in unsent.iterator():
            if moment := passes.get((alert.entry_id, alert.distance)):
                yield alert, minutes, datetime.fromtimestamp(moment, UTC)


def _expected(race: Race, now: datetime) -> dict[tuple[int, float], float]:
    """Map awaited passes (entry, metres) that are still ahead to their times (s)."""
    ground = ground_of(race)
    if ground.slopes is None:
        return {}
    awaited = _waiting().filter(entry__race=race)
    distances: dict[int, list[float]] = defaultdict(list)
    passes = awaited.values_list("entry__runner", "distance").distinct()
    for runner, distance in passes.order_by("distance"):
        distances[runner].append(distance)
    rows = rows_of(race, ground, list(distances))
    samples = samples_of(rows, now)
    return {
        (row.entry, found.distance): found.at
        for row in rows
        for found in arrivals(
            distances[row.runner], known_of(row, samples[row.runner], ground, now)
        )
        if found.status == "expected" and found.at is not None
    }


@transaction.atomic
def _notify(alert: ArrivalAlert, minutes: int, at: datetime, now: datetime) -> int:
    """Queue one notification, unless a different process has done so."""
    unsent = ArrivalAlert.objects.filter(Q(warned=None) | Q(warned__gt=minutes))
    if not unsent.filter(pk=alert.pk).update(warned=minutes):
        return 0
    news = News.objects.create(
        kind=Kind.ARRIVAL,
        once=f"{Kind.ARRIVAL} {alert.pk} {minutes}",
        runner_id=alert.entry.runner_id,
        entry=alert.entry,
        distance=alert.distance,
        minutes=max(1, round((at - now) / timedelta(minutes=1))),
        at=now,
        spread_at=now,
    )
    Delivery.objects.create(
        news=news, subscription_id=alert.subscription_id, by_mail=False
    )
    return 1
