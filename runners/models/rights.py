from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

from django.db import models, transaction
from django.utils import timezone

M = TypeVar("M", bound=models.Model)


class RightsChangeQuerySet(models.QuerySet["RightsChange"]):
    def note(
        self, kind: str, keys: Iterable[int | None], *, erased: bool = False
    ) -> None:
        """Record that these rows have changed; None keys are ignored.

        Call it in the transaction of the change.
        """
        self.bulk_create(
            RightsChange(kind=kind, key=key, erased=erased)
            for key in keys
            if key is not None
        )


class RightsChange(models.Model):
    """Records that somebody may see or send less than before, or that a split changed.

    Every write that may end a right inserts one in its transaction. Each serving
    process polls new rows every 300 ms and reauthorizes the sockets concerned. So a
    change made anywhere takes effect everywhere, and every process notifies its own
    followers of splits that an organiser sets.
    """

    class Kind(models.TextChoices):
        RUNNER = "runner", "A runner: who sees them, when and where"
        RACE = "race", "A race: when its runners are seen"
        TOKEN = "token", "A runner's token"
        LINK = "link", "A share link"
        USER = "user", "An account or its sessions"
        SPLIT = "split", "A split set by hand"

    kind = models.CharField(max_length=6, choices=Kind)
    # Not a foreign key, as the change is often a deletion.
    key = models.BigIntegerField()
    # The runner's positions were erased: processes discard what they hold.
    erased = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects = RightsChangeQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class NotingQuerySet(models.QuerySet[M]):
    """Notes a rights change for each row that `update` touches.

    Saving and deleting rows notes it by signals (models/rights_signals.py), which
    `update` does not send. The model names the field that is the key, and its kind.
    """

    def update(self, **changes: Any) -> int:
        kind, field = self.model.rights_kind, self.model.rights_key  # type: ignore[attr-defined]
        if any(field.name == "changed_at" for field in self.model._meta.fields):
            changes.setdefault("changed_at", timezone.now())
        with transaction.atomic(using=self.db):
            keys = set(self.values_list(field, flat=True))
            rows = super().update(**changes)
            RightsChange.objects.using(self.db).note(kind, keys)
        return rows
