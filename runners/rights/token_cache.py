"""A short-lived cache of tokens, so that requests cause no query each."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from runners import database
from runners.models import RunnerToken
from runners.models.runner import token_digest
from runners.positions.track import Publisher

# How long a result is valid after its request. A revocation by a different process
# takes effect within this time.
LIFE_S = 0.8
# Limit of cached results, including those of wrong tokens.
KEPT = 20_000


@dataclass(frozen=True, slots=True)
class CachedToken:
    """A token: its primary key, its runner, and whether it may publish."""

    token: int
    publisher: Publisher
    usable: bool


class TokenCache:
    """Looks up waiting tokens in one query and caches the results for some seconds.

    It belongs to its event loop.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, CachedToken | None]] = {}
        self._wanted: dict[str, asyncio.Future[CachedToken | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, plain: str) -> CachedToken | None:
        """Return a token, or None if it never existed.

        Raises `DatabaseUnavailable`.
        """
        digest = token_digest(plain)
        known = self._known.get(digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        future = self._wanted.get(digest)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._wanted[digest] = future
            if self._task is None:
                self._task = asyncio.create_task(self._read_queued())
        return await asyncio.shield(future)

    async def _read_queued(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                await self._read_batch(wanted)
        finally:
            self._task = None

    async def _read_batch(
        self, wanted: dict[str, asyncio.Future[CachedToken | None]]
    ) -> None:
        until = time.monotonic() + LIFE_S
        try:
            found = await database.read(read_tokens, list(wanted))
        except Exception as error:
            for future in wanted.values():
                future.set_exception(error)
                future.exception()  # The waiting request may have ended.
            return
        if len(self._known) > KEPT:
            self._known.clear()
        for digest, future in wanted.items():
            bearer = found.get(digest)
            self._known[digest] = until, bearer
            future.set_result(bearer)


def read_tokens(digests: list[str]) -> dict[str, CachedToken]:
    """Map digests to their tokens, including ended ones.

    Causes one query per 500 tokens.
    """
    now = timezone.now()
    found = {}
    for start in range(0, len(digests), 500):
        rows = RunnerToken.objects.filter(
            digest__in=digests[start : start + 500]
        ).values_list(
            "digest", "pk", "revoked_at", "expires_at", "runner_id", "runner__code"
        )
        for digest, pk, revoked_at, expires_at, runner, code in rows:
            usable = revoked_at is None and not _is_past(expires_at, now)
            found[digest] = CachedToken(pk, Publisher(runner, code), usable)
    return found


def _is_past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
