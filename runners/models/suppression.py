from __future__ import annotations

import hashlib
from typing import ClassVar

from django.db import models
from django.utils import timezone


def address_digest(address: str) -> str:
    """Return the stored form of a mail address: hexadecimal SHA-256."""
    return hashlib.sha256(address.strip().casefold().encode()).hexdigest()


class SuppressedAddressQuerySet(models.QuerySet["SuppressedAddress"]):
    def of_address(self, address: str) -> SuppressedAddressQuerySet:
        return self.filter(digest=address_digest(address))


class SuppressedAddress(models.Model):
    """A mail address that receives no mail any more. Only its hash is stored."""

    class Reason(models.TextChoices):
        UNSUBSCRIBED = "unsubscribed", "Its owner used the link in a mail"
        BOUNCED = "bounced", "It does not exist"
        COMPLAINED = "complained", "Its owner reported a mail as spam"

    digest = models.CharField(max_length=64, unique=True, editable=False)
    reason = models.CharField(max_length=12, choices=Reason)
    created_at = models.DateTimeField(default=timezone.now)

    objects = SuppressedAddressQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        verbose_name_plural = "suppressed addresses"

    def __str__(self) -> str:
        return f"{self.digest[:12]}…"
