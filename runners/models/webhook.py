"""Webhooks of organisers' systems, and the messages to deliver to them."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from runners.models.race import Race
from runners.models.race_role import RaceRole


def new_salt() -> str:
    return secrets.token_hex(16)


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def active(self) -> WebhookQuerySet:
        """Return the webhooks to deliver to. Those of a disabled account are not."""
        return self.filter(
            disabled_at=None, account__is_active=True, account__is_staff=True
        )

    def of_race(self, race: OuterRef | int) -> WebhookQuerySet:
        """Return the active webhooks of a race, or of somebody with a role in it."""
        held = RaceRole.objects.filter(race=race, user=OuterRef("account"))
        return self.active().filter(Q(race=race) | Q(Exists(held), race=None))

    def watched_races(self) -> models.QuerySet[Race]:
        """Return the races that have a webhook."""
        return Race.objects.filter(Exists(self.of_race(OuterRef("pk"))))


class Webhook(models.Model):
    """An address to which the events of a race, or of all races of an account, go.

    A secret that the receiver knows signs the messages. It is derived from
    `SECRET_KEY`, so that no copy of the database has it.
    """

    name = models.CharField(max_length=60, help_text="The system that receives.")
    url = models.CharField(
        "address",
        max_length=500,
        help_text="https on its usual port, at a public address.",
    )
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="webhooks",
        editable=False,
    )
    race = models.ForeignKey(
        Race,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="webhooks",
        help_text="Empty: all races in which you have a role.",
    )
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    # Since when no message has been accepted, and the end of the attempts.
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def secret(self) -> str:
        """The secret as receivers expect it: `whsec_` and base64."""
        key = salted_hmac("runners.webhook", self.salt, algorithm="sha256").digest()
        return f"whsec_{base64.b64encode(key).decode()}"


class WebhookMessageQuerySet(models.QuerySet["WebhookMessage"]):
    def claim(
        self, *, most: int, lease: timedelta, busy: set[int]
    ) -> list[WebhookMessage]:
        """Reserve the first due message of each webhook, except of `busy` ones.

        If this process dies, a different one reserves them after the lease.
        """
        now = timezone.now()
        due = self.filter(due_at__lte=now, webhook__in=Webhook.objects.active())
        due = due.exclude(webhook__in=busy)
        # On SQLite a transaction would keep other writers out, once per second.
        if not due.exists():
            return []
        firsts: dict[int, int] = {}
        with transaction.atomic():
            # PostgreSQL skips locked rows; SQLite has only one writer.
            locked = due.select_for_update(of=("self",), skip_locked=True)
            for pk, webhook in locked.order_by("due_at", "pk").values_list(
                "pk", "webhook"
            )[: 50 * most]:
                firsts.setdefault(webhook, pk)
            chosen = list(firsts.values())[:most]
            self.filter(pk__in=chosen).update(
                due_at=now + lease, attempts=F("attempts") + 1
            )
        found = self.filter(pk__in=chosen).select_related("webhook", "race")
        return list(found.defer("race__line"))


class WebhookMessage(models.Model):
    """An event for a webhook, with the result of its last attempt.

    Its id and body stay the same at each attempt.
    """

    webhook = models.ForeignKey(
        Webhook, on_delete=models.CASCADE, related_name="messages"
    )
    # Whether the account may still read of it is decided when the message is sent.
    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="+")
    # The event, which is delivered once to each webhook.
    once = models.CharField(max_length=100)
    message_id = models.CharField("id", max_length=40, unique=True)
    kind = models.CharField("type", max_length=24)
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    # The next attempt, None after the last one.
    due_at = models.DateTimeField("next attempt", default=timezone.now, null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    delivered_at = models.DateTimeField(null=True)
    result = models.CharField("last result", max_length=80, blank=True)

    objects = WebhookMessageQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["webhook", "once"], name="an_event_reaches_a_webhook_once"
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"],
                condition=Q(due_at__isnull=False),
                name="webhook_message_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.message_id}"
