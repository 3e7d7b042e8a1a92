"""Decides which news a follower may get at the time of sending."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from runners.models import Alert, ArrivalAlert, Delivery
from runners.models.news import Kind
from runners.rights.access import visible_runners
from runners.rights.windows import visible_races


class FollowerRights:
    """Alerts and rights of the followers in a batch of deliveries.

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
