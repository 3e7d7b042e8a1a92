from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zlib import crc32

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.rights import NotingQuerySet, RightsChange

logger = logging.getLogger(__name__)

# Distinguishable for colour-blind viewers. The bib identifies a runner in any case.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7B3294",
    "#8C510A",
)
CODE_PATTERN = r"[A-Za-z0-9_-]{1,40}"
# How far back everybody sees a public runner outside of races.
PUBLIC_HISTORY = timedelta(days=1)
# Bytes of randomness in a token: 256 bits cannot be guessed, so no salt is needed.
TOKEN_BYTES = 32


def sharing_now() -> Q:
    """Return the condition that a runner's sharing has not ended by its set time."""
    return Q(sharing_ends_at=None) | Q(sharing_ends_at__gt=timezone.now())


class RunnerQuerySet(NotingQuerySet["Runner"]):
    def update(self, **changes: Any) -> int:
        """Open only what comes after a wider visibility, as saving does."""
        if "visibility" in changes:
            for old in Runner.Visibility:
                if starts := _widened(old, changes["visibility"]):
                    models.QuerySet.update(self.filter(visibility=old), **starts)
        return super().update(**changes)

    def public(self) -> RunnerQuerySet:
        return self.filter(visibility=Runner.Visibility.PUBLIC)

    def sharing(self) -> RunnerQuerySet:
        """Exclude runners whose sharing has ended by its set time."""
        return self.filter(sharing_now())

    def seen_since(self, moment: datetime) -> RunnerQuerySet:
        return self.filter(latest__recorded_at__gte=moment)


class Runner(models.Model):
    """A person who can be followed, identified by their public code."""

    class Visibility(models.TextChoices):
        PUBLIC = "public", "Everybody"
        FOLLOWERS = "followers", "Accepted followers"
        RACE = "race", "Everybody, during their race"
        PRIVATE = "private", "Nobody"

    code = models.CharField(
        max_length=40,
        unique=True,
        validators=[
            RegexValidator(
                rf"\A{CODE_PATTERN}\Z",
                "Use 1 to 40 letters, digits, hyphens and underscores.",
            )
        ],
        help_text="The public id, in links and messages. It cannot be changed.",
    )
    name = models.CharField(max_length=80)
    colour = models.CharField(
        max_length=7,
        blank=True,
        validators=[
            RegexValidator(r"\A#[0-9A-Fa-f]{6}\Z", "Use a colour like #0072B2.")
        ],
        help_text="Empty: one of eight colours, chosen by the code.",
    )
    visibility = models.CharField(
        max_length=9, choices=Visibility, default=Visibility.PUBLIC
    )
    cheers = models.BooleanField(
        default=True, help_text="Whether spectators may send short cheers."
    )
    account = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="runner",
        help_text="The account that signs in as this runner, if there is one.",
    )
    sharing_ends_at = models.DateTimeField(
        null=True, blank=True, help_text="When sharing ends automatically."
    )
    erased_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Positions up to this time were erased and are not accepted again.",
    )
    # Digest of the secret link that pauses sharing without a sign-in, or None.
    stop_digest = models.CharField(
        max_length=64, unique=True, null=True, blank=True, editable=False
    )
    public_from = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Everybody sees positions from this time on; empty: all.",
    )
    followers_from = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Accepted followers see positions from this time on; empty: all.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    rights_kind, rights_key = RightsChange.Kind.RUNNER, "pk"
    objects = RunnerQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name", "code"]
        indexes: ClassVar = [
            # The query of public runners, which each process runs every second.
            models.Index(fields=["visibility", "changed_at"], name="runner_visibility"),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: Any) -> None:
        self.colour = self.colour or palette_colour(self.code)
        fields = kwargs.get("update_fields")
        if not self._state.adding and (fields is None or "visibility" in fields):
            stored = Runner.objects.filter(pk=self.pk)
            old = stored.values_list("visibility", flat=True).first()
            starts = _widened(old or self.visibility, self.visibility)
            for name, start in starts.items():
                setattr(self, name, start)
            if fields is not None:
                kwargs["update_fields"] = {*fields, *starts}
        super().save(**kwargs)


def _widened(old: str, new: str) -> dict[str, datetime]:
    """Return the fields that start now when a visibility changes.

    What was recorded under the narrower visibility is not opened by the wider one.
    """
    hidden = {Runner.Visibility.PRIVATE, Runner.Visibility.RACE}
    everybody = {Runner.Visibility.PUBLIC, Runner.Visibility.RACE}
    followers = {Runner.Visibility.PUBLIC, Runner.Visibility.FOLLOWERS}
    starts = {}
    if new in everybody and old not in {new, Runner.Visibility.PUBLIC}:
        starts["public_from"] = timezone.now()
    if new in followers and old in hidden:
        starts["followers_from"] = timezone.now()
    return starts


def palette_colour(code: str) -> str:
    """Return a colour of the palette, always the same for the same code."""
    return PALETTE[crc32(code.encode()) % len(PALETTE)]


def new_token() -> str:
    """Return a token that no spreadsheet takes for a formula."""
    while (plain := secrets.token_urlsafe(TOKEN_BYTES)).startswith("-"):
        pass
    return plain


def token_digest(plain: str) -> str:
    """Return the stored form of a token: hexadecimal SHA-256."""
    return hashlib.sha256(plain.encode()).hexdigest()


class RunnerTokenQuerySet(NotingQuerySet["RunnerToken"]):
    def issue(self, runner: Runner, *, name: str) -> tuple[RunnerToken, str]:
        """Create a token and return its row and the plain text, which is not stored."""
        plain = new_token()
        token = self.create(runner=runner, name=name, digest=token_digest(plain))
        logger.info("Token %s of runner %s was issued", token.pk, runner.pk)
        return token, plain

    def issue_many(
        self, runners: Iterable[Runner], *, name: str, expires_at: datetime
    ) -> list[str]:
        """Create a token per runner; return the plain texts in the same order."""
        issued = [(runner, new_token()) for runner in runners]
        tokens = self.bulk_create(
            RunnerToken(
                runner=runner,
                name=name,
                digest=token_digest(plain),
                expires_at=expires_at,
            )
            for runner, plain in issued
        )
        logger.info("%s tokens (%s) were issued", len(tokens), name)
        return [plain for _, plain in issued]

    def usable(self) -> RunnerTokenQuerySet:
        alive = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(alive, revoked_at=None)


class RunnerToken(models.Model):
    """The secret with which a phone publishes as a runner. Only its hash is stored."""

    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=60, help_text="The phone or app that uses it.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Empty: valid until it is revoked."
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    rights_kind, rights_key = RightsChange.Kind.TOKEN, "pk"
    objects = RunnerTokenQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.runner})"

    def revoke(self) -> None:
        """Revoke the token. A second call changes nothing."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])
            logger.info("Token %s of runner %s was revoked", self.pk, self.runner_id)
