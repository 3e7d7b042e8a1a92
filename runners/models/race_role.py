"""Who may do what in the race office for a race, and invitations to it."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runners.models.race import Race
from runners.models.runner import TOKEN_BYTES, token_digest

# How long an invitation can be accepted.
INVITATION_LIFE = timedelta(days=7)


class Role(models.TextChoices):
    """What somebody is for a race; `rights/roles.py` says what each may do."""

    OWNER = "owner", _("Owner")
    OFFICE = "office", _("Race office")
    TIMING = "timing", _("Timing")
    AID = "aid", _("Aid station")
    MEDIC = "medic", _("Medic")
    READ = "read", _("Read only")


class RaceRole(models.Model):
    """The role of an account in a race."""

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="roles")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="race_roles"
    )
    role = models.CharField(max_length=6, choices=Role)

    class Meta:
        ordering: ClassVar = ["user__username"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["race", "user"], name="a_user_has_one_role_in_a_race"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_role_display()}"


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def issue(
        self,
        *,
        race: Race,
        role: str,
        invited_by: User,
        email: str = "",
        username: str = "",
    ) -> tuple[Invitation, str]:
        """Invite an address or a username; return the row and its unstored secret.

        A second invitation of the same replaces the first one. Usernames are compared
        as at sign-in, without their case.
        """
        users = User.objects.filter(username__iexact=username, is_active=True)
        plain = secrets.token_urlsafe(TOKEN_BYTES)
        invitation, _created = self.update_or_create(
            race=race,
            email=email,
            username__iexact=username,
            defaults={
                "username": username,
                # Accounts made by a command may differ in case only: the exact one.
                "user": users.filter(username=username).first() or users.first(),
                "role": role,
                "invited_by": invited_by,
                "digest": token_digest(plain),
                "expires_at": timezone.now() + INVITATION_LIFE,
            },
        )
        return invitation, plain

    def open(self) -> InvitationQuerySet:
        """Return the invitations that can be accepted now."""
        return self.filter(expires_at__gt=timezone.now())


class Invitation(models.Model):
    """An invitation to a role, by mail or by username. It is deleted when accepted.

    That of a username is for the account that had it at that time (`user`). A name that
    no account has looks the same in the office, and gives nothing to whoever takes it.
    Neither does one that was declined, which stays, without the account.
    """

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(blank=True)
    username = models.CharField(max_length=254, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="race_invitations",
    )
    role = models.CharField(max_length=6, choices=Role)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    expires_at = models.DateTimeField()

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["email", "username"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                *("race", "email", Lower("username")),
                name="a_race_invites_a_person_once",
            )
        ]

    def __str__(self) -> str:
        return self.email or self.username

    @property
    def is_open(self) -> bool:
        """Return whether it can be accepted."""
        return self.expires_at > timezone.now()
