from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.runner import Runner


class Contact(models.Model):
    """An emergency contact chosen by a runner: a mail address or an account."""

    runner = models.ForeignKey(
        Runner, on_delete=models.CASCADE, related_name="contacts"
    )
    email = models.EmailField(blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
    )
    # The runner's language, because the contact's is not known.
    language = models.CharField(max_length=10, default="en", db_default="en")
    created_at = models.DateTimeField(auto_now_add=True)
    # When the owner of the address agreed. Before that, nothing else is mailed.
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(email="") ^ Q(user=None),
                name="a_contact_is_an_address_or_an_account",
            ),
            models.UniqueConstraint(
                fields=["runner", "email"],
                condition=Q(user=None),
                name="a_runner_chooses_an_address_once",
            ),
            models.UniqueConstraint(
                fields=["runner", "user"], name="a_runner_chooses_an_account_once"
            ),
        ]

    def __str__(self) -> str:
        return self.email or str(self.user)


class SosQuerySet(models.QuerySet["Sos"]):
    def open(self) -> SosQuerySet:
        """Return the calls that are neither withdrawn nor closed by the office."""
        return self.filter(fine_at=None, closed_at=None)


class Sos(models.Model):
    """A runner's call for help: place, time and what was done about it.

    Its position is for the race office and the runner's contacts only. It is not stored
    as a position, and pages for spectators do not read it.
    """

    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="sos")
    # Chosen by the phone, so that a repeated call is recognised.
    key = models.CharField(max_length=64)
    called_at = models.DateTimeField(help_text="When the button was pressed.")
    received_at = models.DateTimeField(default=timezone.now)
    # The newest position since the call, or None while the phone has no fix.
    lat = models.FloatField(null=True, blank=True)
    lng = models.FloatField(null=True, blank=True)
    accuracy = models.FloatField(null=True, blank=True, help_text="Metres.")
    placed_at = models.DateTimeField(null=True, blank=True)
    battery = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text="Per cent.",
    )
    # The time at which the runner reported that it is over.
    fine_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    seen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = SosQuerySet.as_manager()

    class Meta:
        verbose_name = verbose_name_plural = "SOS"
        ordering: ClassVar = ["-called_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["runner", "key"], name="a_call_for_help_counts_once"
            )
        ]
        indexes: ClassVar = [
            # The query of the race desk, which reads open calls every few seconds.
            models.Index(
                fields=["called_at"],
                condition=Q(fine_at=None, closed_at=None),
                name="sos_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.runner_id} at {self.called_at:%Y-%m-%d %H:%M}"
