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
        """Note that something about these rows has changed; None keys do not count.

        Call it in the transaction of the change itself.
        """
        self.bulk_create(
            RightsChange(kind=kind, key=key, erased=erased)
            for key in keys
            if key is not None
        )


class RightsChange(models.Model):
    """A note that somebody may see, or send, less than before; or of a split.

    Every write that may take a right away inserts one in its own transaction; each
    serving process reads the new ones every 300 ms and looks again at the sockets
    concerned. That is how a change made anywhere is in force everywhere, and how a
    split that an organiser sets is told by every process to its own followers.
    """

    class Kind(models.TextChoices):
        RUNNER = "runner", "A runner: who sees them, when and where"
        RACE = "race", "A race: when its runners are seen"
        TOKEN = "token", "A runner's token"
        LINK = "link", "A share link"
        USER = "user", "An account or its sessions"
        SPLIT = "split", "A split set by hand"

    kind = models.CharField(max_length=6, choices=Kind)
    # No foreign key: the row that it names may be gone, which is often the change.
    key = models.BigIntegerField()
    # The runner's positions were erased: whoever holds some forgets them.
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
