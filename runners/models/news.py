"""Alerts that followers have chosen, and news to deliver to them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runners.models.entry import Entry, Split
from runners.models.race import Checkpoint
from runners.models.runner import Runner
from runners.models.share import ShareLink
from runners.models.sos import Contact, Sos
from runners.models.webhook import Webhook


class Subscription(models.Model):
    """A destination of notifications: a browser (web push) or a mail address.

    A browser may belong to no account. A mail address belongs to an account and is used
    once its owner has confirmed it.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="subscriptions",
    )
    # The browser's session. Notifications to the browser end with it.
    session = models.CharField(max_length=40, blank=True, db_index=True)
    endpoint = models.TextField(blank=True)
    p256dh = models.CharField(max_length=100, blank=True)
    auth = models.CharField(max_length=40, blank=True)
    email = models.EmailField(blank=True)
    # Hexadecimal SHA-256 of the endpoint, or of account and address.
    digest = models.CharField(max_length=64, unique=True)
    device = models.CharField(max_length=60, blank=True)
    # The language of the page at the time of the choice.
    language = models.CharField(max_length=10, default="en", db_default="en")
    created_at = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    # Consecutive failures. A browser that cannot be reached is deleted in the end.
    failures = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(endpoint="") ^ Q(email=""),
                name="a_subscription_is_a_browser_or_an_address",
            )
        ]

    def __str__(self) -> str:
        return self.email or self.device or "A browser"


class Kind(models.TextChoices):
    """The events of a runner that cause a notification."""

    START = "start", _("Start")
    CHECKPOINT = "checkpoint", _("Checkpoints")
    FINISH = "finish", _("Finish")
    SILENCE = "silence", _("No signal for 10 minutes")
    SOS = "sos", _("Call for help")
    # Sent after an SOS to those who were notified of it.
    FINE = "fine", _("All is well again")
    # Chosen with a place of the course (`ArrivalAlert`).
    ARRIVAL = "arrival", _("Arrival")
    # For webhooks only.
    OUT = "out", "Out of the race"
    OFF_COURSE = "off_course", "Off course"
    CHANGED = "changed", "Entry changed"


# The kinds that a follower can choose.
KINDS = (Kind.START, Kind.CHECKPOINT, Kind.FINISH, Kind.SILENCE, Kind.SOS)


class Alert(models.Model):
    """The kinds of news about a runner that a follower chose, and their destination."""

    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, related_name="alerts"
    )
    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="alerts")
    # The share link that gives the right to see the runner, if any.
    link = models.ForeignKey(
        ShareLink, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    start = models.BooleanField(default=False)
    checkpoint = models.BooleanField(default=False)
    finish = models.BooleanField(default=False)
    silence = models.BooleanField(default=False)
    sos = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["runner__name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["subscription", "runner"], name="a_runner_has_one_alert_a_place"
            )
        ]

    def __str__(self) -> str:
        return f"{self.runner_id} to {self.subscription_id}"

    @property
    def kinds(self) -> list[Kind]:
        return [kind for kind in KINDS if getattr(self, kind.value)]


class ArrivalAlert(models.Model):
    """A follower's wish to be notified shortly before a runner passes a place."""

    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, related_name="arrival_alerts"
    )
    entry = models.ForeignKey(Entry, on_delete=models.CASCADE, related_name="+")
    # The share link that gives the right to see the runner, if any.
    link = models.ForeignKey(
        ShareLink, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    # Metres along the course.
    distance = models.FloatField()
    # The last notification, in minutes before the pass.
    warned = models.PositiveSmallIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["subscription", "entry", "distance"],
                name="a_pass_has_one_alert_a_place",
            )
        ]

    def __str__(self) -> str:
        return f"{self.entry_id} at {self.distance:.0f} m to {self.subscription_id}"


class NewsQuerySet(models.QuerySet["News"]):
    def tell_of_entry(
        self,
        kind: Kind,
        entry: int,
        at: datetime,
        *,
        checkpoint: int | None = None,
        pass_number: int = 0,
    ) -> None:
        """Record an event of a race once, if anybody has alerts for its runner or the
        race has webhooks.

        Executes one statement. Call it in the transaction of the event.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO runners_news"
                " (kind, once, runner_id, entry_id, checkpoint_id, at, created_at)"
                " SELECT %s, %s, e.runner_id, e.id, %s, %s, %s FROM runners_entry e"
                " JOIN runners_race r ON r.id = e.race_id WHERE e.id = %s AND (EXISTS"
                " (SELECT 1 FROM runners_alert a WHERE a.runner_id = e.runner_id)"
                " OR EXISTS (SELECT 1 FROM runners_webhook w WHERE"
                " w.disabled_at IS NULL AND (w.race_id = r.id OR"
                " w.race_id IS NULL AND EXISTS (SELECT 1 FROM runners_racerole o"
                " WHERE o.race_id = r.id AND o.user_id = w.account_id))))"
                " ON CONFLICT DO NOTHING",
                [
                    kind.value,
                    f"{kind} {entry} {checkpoint or 0} {pass_number}",
                    checkpoint,
                    _adapted(at),
                    _adapted(timezone.now()),
                    entry,
                ],
            )

    def withdraw(self, splits: Collection[Split]) -> None:
        """Forget the news of splits: they may be true later, and are sent then.

        `splits` have their checkpoints. Call it in the transaction that deletes them.
        """
        once = []
        for split in splits:
            mark, number = split.checkpoint_id, split.pass_number
            once.append(f"{Kind.CHECKPOINT} {split.entry_id} {mark} {number}")
            if split.checkpoint.kind != Checkpoint.Kind.SPLIT:
                once.append(f"{split.checkpoint.kind} {split.entry_id} 0 0")
        if once:
            self.filter(once__in=once).delete()

    def tell_of_changes(self, entries: Collection[Entry]) -> None:
        """Record that entries were changed, for the webhooks of their races.

        Executes two statements. Call it in the transaction of the changes.
        """
        races = Webhook.objects.watched_races()
        races = races.filter(pk__in={entry.race_id for entry in entries})
        watched = set(races.values_list("pk", flat=True))
        now = timezone.now()
        self.bulk_create(
            News(
                kind=Kind.CHANGED,
                once=f"{Kind.CHANGED} {entry.pk} 0 {now.timestamp():.6f}",
                runner_id=entry.runner_id,
                entry=entry,
                at=now,
            )
            for entry in entries
            if entry.race_id in watched
        )


def _adapted(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


class News(models.Model):
    """Something that happened to a runner.

    Written in the transaction of the event. A serving process queues its deliveries
    within a second.
    """

    kind = models.CharField(max_length=10, choices=Kind)
    # An event that happens twice, or that two processes find, is delivered once.
    once = models.CharField(max_length=100, unique=True)
    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="news")
    entry = models.ForeignKey(
        Entry, on_delete=models.CASCADE, null=True, related_name="+"
    )
    checkpoint = models.ForeignKey(
        Checkpoint, on_delete=models.CASCADE, null=True, related_name="+"
    )
    sos = models.ForeignKey(Sos, on_delete=models.CASCADE, null=True, related_name="+")
    # Of an arrival: metres along the course, and minutes left.
    distance = models.FloatField(null=True)
    minutes = models.PositiveSmallIntegerField(null=True)
    at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)
    spread_at = models.DateTimeField(null=True)

    objects = NewsQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            # The query of each serving process, once per second.
            models.Index(
                fields=["created_at"],
                condition=Q(spread_at=None),
                name="news_to_spread",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.runner_id}"

    @property
    def pass_number(self) -> int:
        """The lap of a split, which is the end of `once`."""
        return int(self.once.rpartition(" ")[2])


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def claim(
        self, *, by_mail: bool, most: int, lease: timedelta, only_urgent: bool = False
    ) -> list[Delivery]:
        """Reserve due deliveries for this process until the lease ends.

        If the process dies, a different one reserves them after the lease.
        """
        now = timezone.now()
        due = self.filter(by_mail=by_mail, due_at__lte=now)
        if only_urgent:
            due = due.filter(urgent=True)
        if not due.exists():
            return []
        with transaction.atomic():
            # PostgreSQL skips locked rows. SQLite has no row locks, but only one writer
            # from here on.
            rows = list(
                due.order_by("-urgent", "due_at").select_for_update(skip_locked=True)[
                    :most
                ]
            )
            self.filter(pk__in=[row.pk for row in rows]).update(
                due_at=now + lease, attempts=models.F("attempts") + 1
            )
        return list(
            self.filter(pk__in=[row.pk for row in rows])
            .select_related(
                *("news__runner", "news__entry__race", "news__entry__wave"),
                *("news__checkpoint", "news__sos"),
                *("subscription__user", "contact"),
            )
            .defer("news__entry__race__line")
            .order_by("-urgent", "pk")
        )


class Delivery(models.Model):
    """A news item to be delivered to one browser or mail address."""

    news = models.ForeignKey(News, on_delete=models.CASCADE, related_name="deliveries")
    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, null=True, related_name="+"
    )
    # The contact who is notified of an SOS, with its position.
    contact = models.ForeignKey(
        Contact, on_delete=models.CASCADE, null=True, related_name="+"
    )
    by_mail = models.BooleanField()
    urgent = models.BooleanField(default=False)
    due_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveSmallIntegerField(default=0)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["news", "subscription"], name="news_reach_a_subscription_once"
            ),
            models.UniqueConstraint(
                fields=["news", "contact"],
                condition=Q(subscription=None),
                name="news_reach_a_contact_once",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["by_mail", "due_at"], name="delivery_due")
        ]

    def __str__(self) -> str:
        return f"{self.news_id} to {self.subscription_id or self.contact_id}"

    @property
    def recipient(self) -> Subscription | Contact:
        """Return the destination. Contacts with an account are notified at their own
        ones.
        """
        recipient = self.subscription or self.contact
        assert recipient is not None
        return recipient
