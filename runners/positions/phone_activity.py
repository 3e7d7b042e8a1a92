"""Phone activity by token: the app's last request, and what was accepted and refused.

It is kept in memory and written in batches, because a phone may send several requests
per second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from runners import database
from runners.models import LatestPosition, Phone, RunnerToken

# Time between writes.
FLUSH_S = 1.0


@dataclass(slots=True)
class PhoneActivity:
    """The activity of a token since the last write."""

    runner: int
    app: str = ""
    at: datetime = datetime.min.replace(tzinfo=UTC)
    fix_at: datetime | None = None
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    last_reason: str = ""
    refused_at: datetime | None = None

    def add(
        self, app: str, accepted: int, refused: Iterable[tuple[str, str]], now: datetime
    ) -> None:
        """Count a request; refused fixes are (code, detail)."""
        self.app = app or self.app
        self.at = max(self.at, now)
        if accepted:
            self.accepted += accepted
            self.fix_at = max(self.fix_at or now, now)
        for code, detail in refused:
            self.reasons[code] += 1
            self.last_reason = detail
            self.refused_at = now


class PhoneActivityLog:
    """The activity of one event loop that is not written yet, by token."""

    def __init__(self) -> None:
        self._waiting: dict[int, PhoneActivity] = {}
        self._task: asyncio.Task[None] | None = None

    def record(
        self,
        token: int,
        runner: int,
        *,
        app: str = "",
        accepted: int = 0,
        refused: Iterable[tuple[str, str]] = (),
        at: datetime | None = None,
    ) -> None:
        """Record a request by token, by default of now.

        Refused fixes are (code, detail).
        """
        contact = self._waiting.get(token)
        if contact is None:
            contact = self._waiting[token] = PhoneActivity(runner)
        contact.add(app, accepted, refused, at or timezone.now())
        if self._task is None:
            self._task = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(FLUSH_S)
                await self.flush()
        finally:
            self._task = None

    async def flush(self) -> None:
        """Write the pending activity. It is dropped if the database is unavailable."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            try:
                await database.read(write_phone_activity, waiting)
            except database.DatabaseUnavailable:
                return  # logged already, and stored fixes matter more

    async def close(self) -> None:
        """Write the pending activity and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.flush()


def write_phone_activity(contacts: Mapping[int, PhoneActivity]) -> None:
    """Add activity to the stored rows. Causes five queries for any number of tokens."""
    with transaction.atomic():
        # Ordered by primary key, so that two processes never deadlock.
        rows = RunnerToken.objects.filter(pk__in=contacts).order_by("pk")
        tokens: list[RunnerToken] = list(rows.only("last_used_at"))
        stored = (
            Phone.objects.select_for_update()
            .order_by("pk")
            .in_bulk([token.pk for token in tokens])
        )
        phones = []
        for token in tokens:
            contact = contacts[token.pk]
            phone = stored.get(token.pk) or Phone(token=token, contact_at=contact.at)
            _add(phone, contact)
            phones.append(phone)
            token.last_used_at = max(token.last_used_at or contact.at, contact.at)
        Phone.objects.bulk_create(
            phones,
            update_conflicts=True,
            unique_fields=["token"],
            update_fields=[
                *("app", "contact_at", "fix_at", "accepted", "refused"),
                *("reasons", "last_reason", "refused_at"),
            ],
        )
        now = timezone.now()
        # Bypasses the manager, because a use changes no right and needs no
        # `RightsChange`.
        uses: QuerySet[RunnerToken] = QuerySet(RunnerToken)
        uses.bulk_update(tokens, ["last_used_at"])
        LatestPosition.objects.filter(
            runner__in={
                contact.runner for contact in contacts.values() if not contact.accepted
            }
        ).update(contact_at=now)


def _add(phone: Phone, contact: PhoneActivity) -> None:
    phone.app = contact.app or phone.app
    # A different process may have recorded a later one.
    phone.contact_at = max(phone.contact_at, contact.at)
    if at := contact.fix_at:
        phone.fix_at = max(phone.fix_at or at, at)
    phone.accepted += contact.accepted
    phone.refused += contact.reasons.total()
    phone.reasons = dict(Counter(phone.reasons) + contact.reasons)
    phone.last_reason = contact.last_reason[:200] or phone.last_reason
    phone.refused_at = contact.refused_at or phone.refused_at
