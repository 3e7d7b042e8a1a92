"""Followers who are notified shortly before a runner passes a place of their choice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Q
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
from runners.races.race_data import ground_of, rows_of, samples_of
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

    Causes a query while nobody waits, otherwise up to six more for each race.
    """
    waiting = ArrivalAlert.objects.filter(
        Q(warned=None) | Q(warned__gt=min(WARNINGS_MIN)),
        entry__in=Entry.objects.shown().filter(status=Entry.Status.STARTED),
    ).select_related("entry")
    by_race: dict[int, list[ArrivalAlert]] = defaultdict(list)
    for alert in waiting:
        by_race[alert.entry.race_id].append(alert)
    races = Race.objects.defer("line").in_bulk(by_race)
    return sum(
        _notify(alert, minutes, at, now)
        for race, alerts in by_race.items()
        for alert, minutes, at in _due(races[race], alerts, now)
    )


def _due(
    race: Race, alerts: Sequence[ArrivalAlert], now: datetime
) -> Iterator[tuple[ArrivalAlert, int, datetime]]:
    """Find the alerts that are due, the minutes left and the time of the pass."""
    expected = _expected(race, alerts, now)
    for alert in alerts:
        if (at := expected.get((alert.entry_id, alert.distance))) is None:
            continue
        left = (at - now.timestamp()) / MINUTE_S
        minutes = next((n for n in WARNINGS_MIN if left <= n), None)
        if minutes is not None and (alert.warned is None or minutes < alert.warned):
            yield alert, minutes, datetime.fromtimestamp(at, UTC)


def _expected(
    race: Race, alerts: Sequence[ArrivalAlert], now: datetime
) -> dict[tuple[int, float], float]:
    """Map entries and distances that are still ahead to the time of the pass (s)."""
    ground = ground_of(race)
    if ground.slopes is None:
        return {}
    distances: dict[int, set[float]] = defaultdict(set)
    for alert in alerts:
        distances[alert.entry_id].add(alert.distance)
    rows = rows_of(race, ground, {alert.entry.runner_id for alert in alerts})
    samples = samples_of(rows, now)
    return {
        (row.entry, found.distance): found.at
        for row in rows
        for found in arrivals(
            sorted(distances[row.entry]),
            samples[row.runner],
            ground.slopes,
            now=now.timestamp(),
            prior=ground.prior,
            last_fix_at=row.last_fix_at,
            status=row.status,
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
