"""A runner's phone."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from .connection import TEMPORARY_ERRORS, Connection, Ended, Message

Fix = dict[str, Any]

CAPACITY = 100_000
# Even with all fields in full precision a frame stays below its limit of 128 KiB.
BATCH = 200
# Fixes without an ack. While the database is slow new ones are still shown at once.
MAX_IN_FLIGHT = 5000
# The token is good for nothing any more.
FINAL_ERRORS = {"token.required", "runner.unknown"}


class Publisher(Connection):
    """Keeps each fix until the server has stored it.

    A fix is `{"t": ms, "lat": degrees, "lng": degrees}`, with `accuracy`, `altitude`,
    `speed`, `heading` and `battery` where they are known.
    """

    def __init__(
        self, url: str, token: str, *, capacity: int = CAPACITY, **options: Any
    ) -> None:
        super().__init__(url, token, **options)
        # The code of the token's runner, also when an organiser has reassigned the
        # phone: fixes without an ack belonged to the previous runner and are discarded.
        self.on_runner: Callable[[str], object] = lambda code: None
        self.runner: str | None = None
        self._capacity = capacity
        self._is_welcome = False
        self._unsent: deque[Fix] = deque()
        self._in_flight: dict[int, list[Fix]] = {}
        self._next_id = 1
        self._flushed = asyncio.Event()

    @property
    def pending(self) -> list[Fix]:
        """The fixes without an ack, oldest first: keep them when the program ends."""
        return [fix for b in self._in_flight.values() for fix in b] + [*self._unsent]

    def add(self, fix: Fix) -> bool:
        """Queue a fix. Returns False if the queue is full; raises `Ended`.

        Raises `TypeError` or `ValueError` for a fix that JSON cannot encode.
        """
        if self.ended is not None:
            raise self.ended
        # Fail here: the task that sends has nobody to pass the error to.
        json.dumps(fix, allow_nan=False)
        if len(self._unsent) + self._count_in_flight() >= self._capacity:
            return False
        self._unsent.append(fix)
        self._flushed.clear()
        self._wake.set()
        return True

    async def flush(self) -> None:
        """Wait until every fix is acked or refused; raises `Ended`."""
        if not self.pending:
            return
        flushed = asyncio.create_task(self._flushed.wait())
        running = [] if self._task is None else [self._task]
        await asyncio.wait([flushed, *running], return_when=asyncio.FIRST_COMPLETED)
        if not flushed.done():
            flushed.cancel()
            await self.wait()

    def _count_in_flight(self) -> int:
        return sum(map(len, self._in_flight.values()))

    def _requeue(self, batch: list[Fix]) -> None:
        self._unsent.extendleft(reversed(batch))

    def _opened(self) -> None:
        # The server stores a fix once, whatever number of times it arrives.
        self._unsent = deque(self.pending)
        self._in_flight.clear()
        self._is_welcome = False

    def _outgoing(self) -> Iterator[Message]:
        while (
            self._is_welcome
            and self._unsent
            and self._count_in_flight() < MAX_IN_FLIGHT
        ):
            id_ = self._next_id
            count = min(BATCH, len(self._unsent))
            batch = self._in_flight[id_] = [
                self._unsent.popleft() for _ in range(count)
            ]
            self._next_id += 1
            yield {"type": "publish", "id": id_, "fixes": batch}

    def _received(self, message: Message) -> None:
        batch = self._in_flight.pop(message.get("id", 0), None)
        if message["type"] == "welcome":
            self._welcomed(message["runner"])
        elif batch is not None and message["type"] == "ack":
            self._answered()
            for index, code, detail in message["rejected"]:
                self.on_refused(code, detail, [batch[index]])
        elif batch is not None and message["type"] == "error":
            self._batch_refused(message, batch)
        if not self._unsent and not self._in_flight:
            self._flushed.set()
        self._wake.set()

    def _welcomed(self, runner: str) -> None:
        if self.runner != runner:
            if self.runner is not None:
                self._unsent.clear()
            self.runner = runner
            self.on_runner(runner)
        if not self._unsent:
            self._answered()
        self._is_welcome = True

    def _batch_refused(self, error: Message, batch: list[Fix]) -> None:
        code, detail = error["code"], error["detail"]
        if code in FINAL_ERRORS:
            self._requeue(batch)
            raise Ended(code, detail)
        if code in TEMPORARY_ERRORS:
            self._requeue(batch)
            self._retry_later(error)
        else:
            self.on_refused(code, detail, batch)
