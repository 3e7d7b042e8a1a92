"""Resolves the names of push services, also while name servers do not respond.

`loop.getaddrinfo` uses threads for which a loop waits when it is closed: with a silent
name server, 25 s in which no other notification was sent. Here nothing waits for a
thread, and an address that is known is used for longer if its name cannot be resolved
again (RFC 8767, serve-stale).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import NamedTuple

# For one resolution.
TIMEOUT_S = 3.0
FRESH_FOR_S = 300.0
STALE_FOR_S = 86_400.0
# Threads that wait for the name of a new host.
MAX_WAITING = 32
# Names that are remembered.
MAX_KNOWN = 1_000


class Known(NamedTuple):
    """Addresses of a host and when they were resolved."""

    addresses: list[str]
    at: float


class Names:
    """Resolves names and remembers their addresses, for the threads of a process."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._waiting = 0
        self._lock = threading.Lock()

    async def resolve(self, host: str) -> list[str]:
        """Return the addresses of a host; raises OSError and UnicodeError."""
        known, now = self._known.get(host), time.monotonic()
        if known is not None and now - known.at < FRESH_FOR_S:
            return known.addresses
        if known is None and self._waiting >= MAX_WAITING:
            raise TimeoutError("too many names wait for an answer")
        try:
            addresses = await self._ask(host)
        except OSError:  # Includes TimeoutError.
            if known is None or now - known.at > STALE_FOR_S:
                raise
            return known.addresses
        self._remember(host, Known(addresses, now))
        return addresses

    async def _ask(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str] | Exception] = loop.create_future()

        def settle(result: list[str] | Exception) -> None:
            if not answer.done():
                answer.set_result(result)

        def ask() -> None:
            result = _addresses(host)
            with self._lock:
                self._waiting -= 1
            # The loop may have ended without waiting.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, result)

        with self._lock:
            self._waiting += 1
        threading.Thread(target=ask, name=f"resolve-{host}", daemon=True).start()
        async with asyncio.timeout(TIMEOUT_S):
            result = await answer
        if isinstance(result, Exception):
            raise result
        return result

    def _remember(self, host: str, known: Known) -> None:
        with self._lock:
            self._known.pop(host, None)
            self._known[host] = known
            if len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]


def _addresses(host: str) -> list[str] | Exception:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return error
    return [str(row[4][0]) for row in found]


names = Names()
