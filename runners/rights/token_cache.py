"""A short-lived cache of tokens, so that requests cause no query each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from runners.database import CoalescedReads
from runners.models import RunnerToken
from runners.models.runner import token_digest
from runners.positions.track import Publisher

# How long a result is valid after its request. A revocation by a different process
# takes effect within this time.
LIFE_S = 0.8
# Limit of cached results, including those of wrong tokens.
KEPT = 20_000
TOKENS_PER_QUERY = 500


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
        self._reads = CoalescedReads(read_tokens, TOKENS_PER_QUERY)

    async def find(self, plain: str) -> CachedToken | None:
        """Return a token, or None if it never existed.

        Raises `DatabaseUnavailable`.
        """
        digest = token_digest(plain)
        known = self._known.get(digest)
        requested_at = time.monotonic()
        if known is not None and known[0] > requested_at:
            return known[1]
        token = (await self._reads.read([digest])).get(digest)
        if len(self._known) > KEPT:
            self._known.clear()
        self._known[digest] = requested_at + LIFE_S, token
        return token


def read_tokens(digests: Sequence[str]) -> dict[str, CachedToken]:
    """Map digests to their tokens, including ended ones. Causes one query."""
    now = timezone.now()
    rows = RunnerToken.objects.filter(digest__in=digests).values_list(
        "digest", "pk", "revoked_at", "expires_at", "runner_id", "runner__code"
    )
    return {
        digest: CachedToken(
            pk,
            Publisher(runner, code),
            usable=revoked_at is None and not _is_past(expires_at, now),
        )
        for digest, pk, revoked_at, expires_at, runner, code in rows
    }


def _is_past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
