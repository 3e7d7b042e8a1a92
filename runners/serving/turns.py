"""A semaphore that is fair between networks: nobody waits for a whole flood."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A semaphore that serves the names of its waiters in turn.

    A name with a hundred waiters has one turn per round, as a name with one has: a
    carrier's crowd waits longer while many networks wait. By age or by number, a flood
    would gain as much as a crowd.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self.waiting = 0
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
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._end()
            raise
        finally:
            self.waiting -= 1

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
