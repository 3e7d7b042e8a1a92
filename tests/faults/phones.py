"""Phones that follow the protocol.

They keep fixes until these are acked and send them again after a loss. They record all
acked fixes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable

import orjson

from tests.faults.peer import SUBPROTOCOLS, Peer
from tests.faults.randomness import new_rng
from tests.websocket import Refused

Place = tuple[float, float]

# Limit of one message.
FIX_LIMIT = 500
UNACKED_FIX_LIMIT = 20_000
# Temporary errors, and the wait where the error has no `after`.
TEMPORARY_ERRORS = {"rate.limited", "store.unavailable"}
RETRY_AFTER_MS = 1_000
# Upper bound of the random wait between attempts to connect.
RETRY_S = 0.5


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Phone:
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
        self.url = url
        self.code = code
        self.token = token
        self.rate = rate
        # Returns the place at the loop time at which a fix is due.
        self.place = self._wander if place is None else place
        self.made: dict[int, Place] = {}
        self.acked: set[int] = set()
        # Delays from sending to the ack, in seconds.
        self.ack_ages: list[float] = []
        # Errors that are not temporary, and codes of rejected fixes.
        self.refused: Counter[str] = Counter()
        self.connects = 0
        self.line: _Line | None = None
        self._rng = new_rng()
        self._lat, self._lng = self._rng.uniform(40, 60), self._rng.uniform(1, 20)
        self._unsent: deque[int] = deque()
        self._last = 0
        self._not_before = 0.0
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
                self._unsent.append(t)
        self.send()

    async def run(self) -> None:
        """Publish until all fixes are acked or the task is cancelled."""
        recording = asyncio.create_task(self._record())
        try:
            while not self.done:
                with contextlib.suppress(OSError, Refused, TimeoutError):
                    await self._stay_connected()
                if not self.done:
                    await asyncio.sleep(self._rng.uniform(0, RETRY_S))
        finally:
            recording.cancel()

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

    async def _stay_connected(self) -> None:
        line = _Line(self)
        try:
            await line.open(self.url, SUBPROTOCOLS["v1"])
            line.send({"type": "auth", "token": self.token})
            self.line = line
            self.connects += 1
            self.send()
            while not line.closed.done() and not self.done:
                await asyncio.wait([line.closed], timeout=0.1)
                self.send()
        finally:
            self.line = None
            # Fixes in flight may be lost.
            for times, _ in reversed(line.in_flight.values()):
                self._unsent.extendleft(reversed(times))
            line.in_flight.clear()
            if hasattr(line, "transport"):
                line.reset()

    def send(self) -> None:
        """Send the fixes that limits and waits allow."""
        line = self.line
        now = time.monotonic()
        if line is None or now < self._not_before:
            return
        while self._unsent and line.fixes_in_flight < UNACKED_FIX_LIMIT:
            size = min(FIX_LIMIT, len(self._unsent))
            times = [self._unsent.popleft() for _ in range(size)]
            line.publish(times, now)


class _Line(Peer):
    """One connection of a phone."""

    def __init__(self, phone: Phone) -> None:
        super().__init__()
        self.phone = phone
        self.in_flight: dict[int, tuple[list[int], float]] = {}
        self.fixes_in_flight = 0
        self._next_id = 0

    def publish(self, times: list[int], now: float) -> None:
        self._next_id += 1
        self.in_flight[self._next_id] = times, now
        self.fixes_in_flight += len(times)
        made = self.phone.made
        self.send(
            {
                "type": "publish",
                "id": self._next_id,
                "fixes": [
                    {"t": t, "lat": made[t][0], "lng": made[t][1]} for t in times
                ],
            }
        )

    def received(self, text: bytes) -> None:
        message = orjson.loads(text)
        if message["type"] not in ("ack", "error"):
            return
        times, sent = self.in_flight.pop(message.get("id", 0), ([], 0.0))
        self.fixes_in_flight -= len(times)
        phone = self.phone
        if message["type"] == "ack" and times:
            phone.refused.update(code for _, code, _ in message["rejected"])
            if not message["rejected"]:
                assert message["stored"] == len(times), message
            phone.acked.update(times)
            phone.ack_ages.append(time.monotonic() - sent)
        elif message["type"] == "error":
            phone._unsent.extendleft(reversed(times))
            code = message["code"]
            if code in TEMPORARY_ERRORS:
                wait = message.get("after", RETRY_AFTER_MS) / 1000
                phone._not_before = time.monotonic() + wait
            elif code != "token.required":
                phone.refused[code] += 1
            if not times or code == "token.required":
                # Authentication failed because the database did not answer, so
                # reconnect.
                self.reset()


@contextlib.asynccontextmanager
async def carried(phones: list[Phone]) -> AsyncIterator[None]:
    """Run the phones in the background."""
    tasks = [asyncio.create_task(phone.run()) for phone in phones]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def all_acked(phones: list[Phone], seconds: float) -> bool:
    """Stop the recording and return whether all fixes were acked in time."""
    for phone in phones:
        phone.stop_recording()
    deadline = time.monotonic() + seconds
    while not all(phone.done for phone in phones):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True
