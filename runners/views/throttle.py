"""Delays the responses to wrong PINs."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import async_only_middleware

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

# The delay after the first failure. It doubles with each further failure, up to the
# longest.
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
# Failures of a name are forgotten after this time without a further one.
FORGET_AFTER_S = 900.0
MAX_NAMES = 10_000


class Failures:
    """Recent failures by name; the oldest are discarded at the limit."""

    def __init__(self) -> None:
        # Counts and times of the last failures, ordered by time.
        self._kept: dict[bytes, tuple[int, float]] = {}

    def add(self, name: str) -> float:
        """Count a failure; return the delay of its response in seconds."""
        now = time.monotonic()
        # Hashed to a fixed size, because names may be long.
        key = hashlib.sha256(name.casefold().encode()).digest()
        count, last = self._kept.pop(key, (0, now))
        if now - last > FORGET_AFTER_S:
            count = 0
        self._kept[key] = (count + 1, now)
        while len(self._kept) > MAX_NAMES:
            del self._kept[next(iter(self._kept))]
        return float(min(FIRST_WAIT_S * 2 ** min(count, 10), LONGEST_WAIT_S))

    def clear(self) -> None:
        """Discard all failures."""
        self._kept.clear()


failures = Failures()


def record_failure(request: HttpRequest, name: str) -> None:
    """Mark the response to this request to be delayed."""
    request.failed_name = name  # type: ignore[attr-defined]


@async_only_middleware
def slow_failures(get_response: GetResponse) -> GetResponse:
    """Delay the response to a wrong PIN, longer after each failure.

    Successful attempts are not delayed. First in MIDDLEWARE, outside of everything that
    needs a thread, so that no thread sleeps.
    """

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        name = getattr(request, "failed_name", None)
        if name is not None:
            await asyncio.sleep(failures.add(name))
        return response

    return middleware
