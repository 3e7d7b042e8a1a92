"""Phones of the client package that record their fixes, acks and delays."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from clients.python.spectate_client import Publisher
from runners.units.clock import now_ms
from tests.faults.peer import until
from tests.faults.randomness import new_rng

Place = tuple[float, float]

# Upper bound of the random wait between attempts to connect.
RETRY_S = 0.5


class Phone(Publisher):
    """One runner's phone: it makes fixes at a steady rate and keeps all until acked."""

    def __init__(
        self,
        url: str,
        code: str,
        token: str,
        *,
        rate: float,
        place: Callable[[float], Place] | None = None,
    ) -> None:
        # A stopped server does not lose its sockets, so no pings either.
        super().__init__(url, token, compression=None, ping_interval=None, proxy=None)
        self.on_refused = self._count_refused
        self.code = code
        self.rate = rate
        # Returns the place at the loop time at which a fix is due.
        self.place = self._wander if place is None else place
        self.made: dict[int, Place] = {}
        self.acked: set[int] = set()
        # Delays from sending to the ack, in seconds.
        self.ack_ages: list[float] = []
        # Codes of refused fixes.
        self.refused: Counter[str] = Counter()
        self.connects = 0
        self._rng = new_rng()
        self._lat, self._lng = self._rng.uniform(40, 60), self._rng.uniform(1, 20)
        # Times of sending by the id of a message.
        self._sent_at: dict[int, float] = {}
        self._last = 0
        self._recording = True

    def _wander(self, due: float) -> Place:
        self._lat += self._rng.uniform(-1e-3, 1e-3)
        self._lng += self._rng.uniform(-1e-3, 1e-3)
        # Five decimals, as in everything that spectators receive.
        return round(self._lat, 5), round(self._lng, 5)

    @property
    def done(self) -> bool:
        return not self._recording and len(self.acked) == len(self.made)

    def stop_recording(self) -> None:
        """Make no more fixes. `run` ends when the last one is acked."""
        self._recording = False

    def record(self, times: Iterable[int], place: Place) -> None:
        """Add fixes of these times, for example from before the network was lost."""
        for t in times:
            if t not in self.made:
                self.made[t] = place
                assert self.add({"t": t, "lat": place[0], "lng": place[1]})

    async def run(self) -> None:
        """Publish until all fixes are acked or the task is cancelled."""
        async with self:
            await self._record()
            await self.flush()

    async def _record(self) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time() + self._rng.random() / self.rate
        number = 0
        while self._recording:
            due = start + number / self.rate
            number += 1
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
                if not self._recording:
                    return
            self._last = max(now_ms(), self._last + 1)
            self.record((self._last,), self.place(due))

    def _wait_after(self, code: int) -> float:
        super()._wait_after(code)
        return self._rng.uniform(0, RETRY_S)

    def _opened(self) -> None:
        super()._opened()
        self._sent_at.clear()
        self.connects += 1

    def _outgoing(self) -> Iterator[dict[str, Any]]:
        for message in super()._outgoing():
            self._sent_at[message["id"]] = time.monotonic()
            yield message

    def _received(self, message: dict[str, Any]) -> None:
        if message["type"] == "ack":
            fixes = self._in_flight[message["id"]]
            assert message["rejected"] or message["stored"] == len(fixes), message
            self.acked.update(fix["t"] for fix in fixes)
            self.ack_ages.append(time.monotonic() - self._sent_at[message["id"]])
        super()._received(message)

    def _count_refused(self, code: str, detail: str, fixes: list[Any]) -> None:
        self.refused[code] += len(fixes)


async def all_acked(phones: list[Phone], seconds: float) -> bool:
    """Stop the recording and return whether all fixes were acked in time."""
    for phone in phones:
        phone.stop_recording()
    return await until(lambda: all(phone.done for phone in phones), seconds)
