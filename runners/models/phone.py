from __future__ import annotations

from typing import ClassVar

from django.db import models

from runners.models.runner import RunnerToken


class Phone(models.Model):
    """The phone of a token: its app, last contact and refused fixes.

    A separate table, because the intake writes it every few seconds.
    """

    token = models.OneToOneField(
        RunnerToken, on_delete=models.CASCADE, primary_key=True, related_name="phone"
    )
    app = models.CharField(max_length=40)
    contact_at = models.DateTimeField(
        help_text="When the phone's last request arrived."
    )
    fix_at = models.DateTimeField(
        null=True, blank=True, help_text="When the last accepted position arrived."
    )
    accepted = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)
    # Counts by error code, and the last error as a text.
    reasons = models.JSONField(default=dict, blank=True)
    last_reason = models.CharField(max_length=200, blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-contact_at"]

    def __str__(self) -> str:
        return f"{self.app}, {self.token}"
