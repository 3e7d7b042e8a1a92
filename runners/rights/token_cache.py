"""A short-lived cache of tokens, so that requests cause no query each."""

from __future__ import annotations

import time

from runners.database import CoalescedReads
from runners.models.runner import token_digest
from runners.rights.token_lookup import TokenIdentity, read_tokens

# How long a result is valid after its request. A revocation by a different process
# takes effect within this time.
LIFE_S = 0.8
# Limit of cached results, including those of wrong tokens.
KEPT = 20_000
TOKENS_PER_QUERY = 500


class TokenCache:
    """Looks up waiting tokens in one query and caches the results for some seconds.

    It belongs to its event loop.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, TokenIdentity | None]] = {}
        self._reads = CoalescedReads(read_tokens, TOKENS_PER_QUERY)

    async def find(self, plain: str) -> TokenIdentity | None:
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
