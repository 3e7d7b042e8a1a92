from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from runners.models.rights import NotingQuerySet, RightsChange
from runners.models.runner import Runner


class FollowQuerySet(NotingQuerySet["Follow"]):
    def update(self, **changes: Any) -> int:
        """Start to show positions with the acceptance, as saving does."""
        if "status" in changes:
            accepted = changes["status"] == Follow.Status.ACCEPTED
            changes.setdefault("shown_from", timezone.now() if accepted else None)
        return super().update(**changes)

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
    shown_from = models.DateTimeField(
        null=True,
        editable=False,
        help_text="The user sees positions from the acceptance on.",
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

    def save(self, **kwargs: Any) -> None:
        """Record since when the follow is accepted, unless it is known."""
        if self.status != Follow.Status.ACCEPTED:
            self.shown_from = None
        elif self.shown_from is None:
            self.shown_from = timezone.now()
        fields = kwargs.get("update_fields")
        if fields is not None and "status" in fields:
            kwargs["update_fields"] = {*fields, "shown_from"}
        super().save(**kwargs)
