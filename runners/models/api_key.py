from __future__ import annotations

import logging
import secrets
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.race import Race
from runners.models.runner import TOKEN_BYTES, token_digest

logger = logging.getLogger(__name__)


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def issue(
        self,
        *,
        name: str,
        account: User,
        expires_at: datetime,
        scope: str,
        race: Race | None = None,
        can_write: bool = False,
    ) -> tuple[ApiKey, str]:
        """Create a key and return its row and the plain text, which is not stored."""
        plain = secrets.token_urlsafe(TOKEN_BYTES)
        key = self.create(
            name=name,
            account=account,
            expires_at=expires_at,
            scope=scope,
            race=race,
            can_write=can_write,
            digest=token_digest(plain),
        )
        return key, plain

    def usable(self) -> ApiKeyQuerySet:
        """Return the keys that work now. Those of a disabled account do not."""
        return self.filter(
            revoked_at=None,
            expires_at__gt=timezone.now(),
            account__is_active=True,
            account__is_staff=True,
        )


class ApiKey(models.Model):
    """The secret with which an organiser's system uses the HTTP API.

    It has no right that its account does not have. Only its hash is stored.
    """

    class Scope(models.TextChoices):
        RACE = "race", "One race"
        ORGANISER = "organiser", "Races in which the account has a role"
        INSTALLATION = "installation", "All races"

    name = models.CharField(max_length=60, help_text="The system that uses it.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys"
    )
    scope = models.CharField(
        max_length=12, choices=Scope, default=Scope.RACE, verbose_name="races"
    )
    race = models.ForeignKey(
        Race, on_delete=models.CASCADE, null=True, blank=True, related_name="api_keys"
    )
    can_write = models.BooleanField("may write", default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(scope="race", race__isnull=False)
                | (~Q(scope="race") & Q(race=None)),
                name="a_key_of_one_race_names_it",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if (self.scope == self.Scope.RACE) != (self.race is not None):
            raise ValidationError(
                {"race": "Choose the race of a key for one race, and none otherwise."}
            )

    def revoke(self) -> None:
        """Revoke the key. A second call changes nothing."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])
