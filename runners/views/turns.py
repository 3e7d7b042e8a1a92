"""Bounds how many pages are made at the same time, fairly between networks.

Each request of a page has a separate thread, and all threads share one interpreter:
thirty that work at the same time leave the event loop a thirtieth of it. Requests
beyond the limit wait here, where they cost nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import async_only_middleware

from runners.quotas import network_of

# Two or three are enough to occupy the interpreter; the others wait for the database.
PAGES = 4
# Passwords and PINs are hashed one at a time, so that a second one may only be prepared
# meanwhile.
SECRETS = 2
# Forms with a password or a PIN, whose requests wait for its hash.
SECRET_FORMS = ("/sign-in/", "/sign-up/", "/account/", "/s/", "/admin/login/")

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class Turns:
    """A semaphore that serves the names of its waiters in turn."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for a turn of a name, and end it on exit."""
        await self._begin(name)
        try:
            yield
        finally:
            self._end()

    async def _begin(self, name: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._end()
            raise

    def _end(self) -> None:
        while self._waiting:
            name = next(iter(self._waiting))
            turns = self._waiting.pop(name)
            turn = turns.popleft()
            if turns:
                self._waiting[name] = turns
            # One who no longer waits has cancelled theirs.
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


pages, secrets = Turns(PAGES), Turns(SECRETS)


@async_only_middleware
def in_turn(get_response: GetResponse) -> GetResponse:
    """Make a limited number of responses at the same time.

    The request's body has been read, and the response is sent later: slow clients
    occupy no turn.
    """

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        is_secret = request.method == "POST" and request.path.startswith(SECRET_FORMS)
        turns = secrets if is_secret else pages
        async with turns.turn(network(request)):
            return await get_response(request)

    return middleware


def network(request: HttpRequest) -> str:
    """Return the network of a request's client."""
    return network_of(request.META.get("REMOTE_ADDR", ""))
