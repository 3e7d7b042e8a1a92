"""Answers to a crowd that asks when its runners pass a place.

All requests of 100 ms share a read, which begins after the last of them. What everybody
may see of a race is read once per second, and usually again by the first read after a
right has changed: one that timed out may still store an older state, for a second.
Predictions are renewed beside the requests, so that hardly any waits for one.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence

from runners import database
from runners.models import RightsChange
from runners.races.predictions import due_predictions, renew_predictions
from runners.subscriptions.arrival_answers import (
    ArrivalsRequest,
    VisibleField,
    answers_to,
    visible_field,
)
from runners.units.errors import CodedError

# The least time between two reads for requests without an account.
READ_EVERY_S = 0.1
# How long a field is used while no right changes: those that end by the clock.
FIELD_AGE_S = 1.0
# The time between two rounds that renew predictions, and the runners of one call.
RENEW_EVERY_S = 5.0
RENEWED_AT_ONCE = 200
# The named runners of one read. A request with fewer, or without any, counts like one
# of five.
RUNNERS_PER_READ = 500
LEAST_LOAD = 5


class ArrivalReads:
    """The coalesced reads of requests without an account, in one event loop."""

    def __init__(self) -> None:
        self._reads = database.CoalescedReads(
            self._read, RUNNERS_PER_READ, every_s=READ_EVERY_S, load=_load
        )
        # Of viewers without an account and links, by race.
        self._fields: dict[str, VisibleField] = {}
        # The last change of rights before these were read.
        self._change = 0
        # Runners whose predictions are to be renewed.
        self._due: dict[int, VisibleField] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def answer(self, request: ArrivalsRequest) -> bytes:
        """Return the answer as JSON; raises `CodedError`, `DatabaseUnavailable`."""
        answer = (await self._reads.read([request]))[request]
        if self._due and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
        if isinstance(answer, CodedError):
            raise answer
        return answer

    async def close(self) -> None:
        """Stop renewing predictions."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])

    async def _renew(self) -> None:
        try:
            await asyncio.sleep(RENEW_EVERY_S)
            # Those that become due meanwhile are for the next round, many at once.
            for _ in range(0, len(self._due), RENEWED_AT_ONCE):
                await database.read(self._renew_some)
        except database.DatabaseUnavailable:
            pass  # The next request asks for them again.
        finally:
            self._renewing = None

    # -- in a thread of the database pool

    def _renew_some(self) -> None:
        # By race, and not by field: of these there is one per second, and predictions
        # do not depend on rights.
        due: dict[int, list[int]] = defaultdict(list)
        fields: dict[int, VisibleField] = {}
        for _ in range(min(len(self._due), RENEWED_AT_ONCE)):
            runner, visible = self._due.popitem()
            due[visible.race.pk].append(runner)
            fields.setdefault(visible.race.pk, visible)
        for race, visible in fields.items():
            renew_predictions(visible.race, visible.ground, due[race])

    def _read(
        self, requests: Sequence[ArrivalsRequest]
    ) -> dict[ArrivalsRequest, bytes | CodedError]:
        self._discard_fields()
        by_race: dict[str, list[ArrivalsRequest]] = defaultdict(list)
        for request in requests:
            by_race[request.slug].append(request)
        found: dict[ArrivalsRequest, bytes | CodedError] = {}
        for slug, own in by_race.items():
            try:
                visible = self._field(slug)
            except CodedError as error:
                found |= dict.fromkeys(own, error)
                continue
            answers, asked = answers_to(visible, own)
            found |= answers
            self._due |= dict.fromkeys(due_predictions(visible.race, asked), visible)
        return found

    def _discard_fields(self) -> None:
        """Discard the fields that are old, or all if a right may have changed."""
        if (change := RightsChange.objects.newest_id()) != self._change:
            self._change = change
            self._fields.clear()
        oldest = time.monotonic() - FIELD_AGE_S
        # The thread of a read that timed out may change the fields meanwhile.
        for slug, visible in list(self._fields.items()):
            if visible.read_at < oldest:
                self._fields.pop(slug, None)

    def _field(self, slug: str) -> VisibleField:
        visible = self._fields.get(slug)
        if visible is None:
            visible = self._fields[slug] = visible_field(slug)
        return visible


def _load(request: ArrivalsRequest) -> int:
    return max(len(request.runners), LEAST_LOAD)
