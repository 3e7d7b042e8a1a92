"""Make who guesses passwords or PINs wait for the answer."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import async_only_middleware

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

# The wait after the first failure, doubled by each further one, up to the longest.
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
FORGET = 900.0  # seconds after the last failure
MOST_KEPT = 10_000  # names


class Failures:
    """How often each name failed lately; the oldest are forgotten when it is full."""

    def __init__(self) -> None:
        # In the order of the last failure: how many, and when.
        self._kept: dict[bytes, tuple[int, float]] = {}

    def add(self, name: str) -> float:
        """Count a failure; return how long its answer waits, in seconds."""
        now = time.monotonic()
        # Of one size, however long a name is sent.
        key = hashlib.sha256(name.casefold().encode()).digest()
        count, last = self._kept.pop(key, (0, now))
        if now - last > FORGET:
            count = 0
        self._kept[key] = (count + 1, now)
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return float(min(FIRST_WAIT_S * 2 ** min(count, 10), LONGEST_WAIT_S))

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()


failures = Failures()


def note_failure(request: HttpRequest, name: str) -> None:
    """Have the answer to this request wait."""
    request.failed_name = name  # type: ignore[attr-defined]


@receiver(user_login_failed)
def _sign_in_failed(
    credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    # By the account that was tried, on our page and the admin's alike. By address it
    # would hold up all who share one, as a race village does.
    if request is not None:
        note_failure(request, f"account {credentials.get('username', '')}")


@async_only_middleware
def slow_failures(get_response: GetResponse) -> GetResponse:
    """Hold back the answer to a failed sign-in or PIN, longer with each failure.

    Only that answer: a right password waits for nothing. It comes first in
    MIDDLEWARE, outside of whatever needs a thread, so that none sleeps with it.
    """

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        name = getattr(request, "failed_name", None)
        if name is not None:
            await asyncio.sleep(failures.add(name))
        return response

    return middleware
