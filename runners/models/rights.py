from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

from django.db import connection, models, transaction
from django.utils import timezone

M = TypeVar("M", bound=models.Model)


class RightsChangeQuerySet(models.QuerySet["RightsChange"]):
    def note(
        self, kind: str, keys: Iterable[int | None], *, erased: bool = False
    ) -> None:
        """Record that these rows have changed. Keys that are None are ignored.

        Call it in the transaction of the change.
        """
        self.bulk_create(
            RightsChange(kind=kind, key=key, erased=erased)
            for key in keys
            if key is not None
        )

    def newest_id(self) -> int:
        """Return the id of the last change, or 0.

        Each process asks several times per second, and the ORM takes ten times as long.
        """
        table = connection.ops.quote_name(self.model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT MAX(id) FROM {table}")  # noqa: S608
            newest: int | None = cursor.fetchone()[0]
        return newest or 0


class RightsChange(models.Model):
    """Records that somebody may see or send less than before, or that a split changed.

    Every write that may end a right inserts a row in its transaction. Each serving
    process polls new rows every 300 ms and reauthorizes the sockets concerned, so a
    change takes effect in all processes. Each process also notifies its followers of
    splits that an organiser sets or a mat takes.
    """

    class Kind(models.TextChoices):
        RUNNER = "runner", "A runner: who sees them, when and where"
        RACE = "race", "A race: when its runners are seen"
        TOKEN = "token", "A runner's token"
        LINK = "link", "A share link"
        USER = "user", "An account or its sessions"
        SPLIT = "split", "A split by hand or by a mat"

    kind = models.CharField(max_length=6, choices=Kind)
    # Not a foreign key, because the change is often a deletion.
    key = models.BigIntegerField()
    # The runner's positions were erased. Processes then discard their copies.
    erased = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects = RightsChangeQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class NotingQuerySet(models.QuerySet[M]):
    """Records a rights change for each row that `update` changes.

    For saved and deleted rows signals do this (models/rights_signals.py), which
    `update` does not send. The model names the field of the key, and the kind of
    change.
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
