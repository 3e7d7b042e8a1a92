from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from runners.models.rights import NotingQuerySet, RightsChange
from runners.models.runner import Runner


class FollowQuerySet(NotingQuerySet["Follow"]):
    def accepted(self) -> FollowQuerySet:
        return self.filter(status=Follow.Status.ACCEPTED)


class Follow(models.Model):
    """A user's request to follow a runner, and the runner's decision."""

    class Status(models.TextChoices):
        PENDING = "pending", "Asked"
        ACCEPTED = "accepted", "Accepted"
        REFUSED = "refused", "Refused"
        BLOCKED = "blocked", "Blocked"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="follows"
    )
    runner = models.ForeignKey(
        Runner, on_delete=models.CASCADE, related_name="followers"
    )
    status = models.CharField(
        max_length=8, choices=Status, default=Status.PENDING, db_index=True
    )
    created_at = models.DateTimeField(auto_now_add=True)

    rights_kind, rights_key = RightsChange.Kind.RUNNER, "runner_id"
    objects = FollowQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "runner"], name="a_user_follows_a_runner_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} → {self.runner}"
