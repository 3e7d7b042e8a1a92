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
from runners.races.arrival.eta import arrivals
from runners.races.race_data import ground_of, rows_of, samples_of
from runners.units.errors import CodedError

# How long before a pass a follower is notified.
WARNINGS_MIN = (1, 5)
MINUTE_S = 60.0
# Limit of the passes of one browser: a place on a course in laps, for my runners.
MAX_PASSES = 500


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
    subscription.arrival_alerts.all().delete()
    alerts = [
        ArrivalAlert(
            subscription=subscription, entry=entry, link=link, distance=distance
        )
        for entries, link in chosen
        for entry in entries
        for distance in distances
    ]
    if len(alerts) > MAX_PASSES:
        detail = _("Choose fewer runners: at most {count} arrivals are notified.")
        raise CodedError("alerts.limit", detail.format(count=MAX_PASSES))
    ArrivalAlert.objects.bulk_create(alerts)


def record_arrivals(now: datetime) -> int:
    """Create news and deliveries of passes that are due; return their number.

    Causes a query while nobody waits, otherwise six for each place.
    """
    waiting = ArrivalAlert.objects.filter(
        Q(warned=None) | Q(warned__gt=min(WARNINGS_MIN)),
        entry__in=Entry.objects.shown().filter(status=Entry.Status.STARTED),
    ).select_related("entry")
    places: dict[tuple[int, float], list[ArrivalAlert]] = defaultdict(list)
    for alert in waiting:
        places[alert.entry.race_id, alert.distance].append(alert)
    races = Race.objects.defer("line").in_bulk({race for race, _ in places})
    return sum(
        _notify(alert, minutes, at, now)
        for (race, distance), alerts in places.items()
        for alert, minutes, at in _due(races[race], distance, alerts, now)
    )


def _due(
    race: Race, distance: float, alerts: Sequence[ArrivalAlert], now: datetime
) -> Iterator[tuple[ArrivalAlert, int, datetime]]:
    """Find the alerts that are due, the minutes left and the time of the pass."""
    ground = ground_of(race)
    if ground.slopes is None:
        return
    rows = rows_of(race, ground, {alert.entry.runner_id for alert in alerts})
    samples = samples_of(rows, now)
    expected = {}
    for row in rows:
        (found,) = arrivals(
            [distance],
            samples[row.runner],
            ground.slopes,
            now=now.timestamp(),
            prior=ground.prior,
            last_fix_at=row.last_fix_at,
            status=row.status,
        )
        if found.status == "expected" and found.at is not None:
            expected[row.entry] = found.at
    for alert in alerts:
        if (at := expected.get(alert.entry_id)) is None:
            continue
        left = (at - now.timestamp()) / MINUTE_S
        minutes = next((n for n in WARNINGS_MIN if left <= n), None)
        if minutes is not None and (alert.warned is None or minutes < alert.warned):
            yield alert, minutes, datetime.fromtimestamp(at, UTC)


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
