"""The participants of a workload: runners, spectators and the positions received.

Positions are due at fixed times, from which ages are measured (open loop).
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Sequence

from tests.websocket import RawClient

# Ages are counted per millisecond up to this one.
OLDEST_MS = 120_000
# Concurrent handshakes.
CONCURRENT_HANDSHAKES = 64
# The kernel has 28,000 ports per source address.
SOCKETS_PER_ADDRESS = 10_000


class Crowd:
    """The runners, the spectators and the positions received."""

    subprotocol: str | None = None

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.runners: int = options.runners
        self.period = 1.0 / options.rate
        self.publishers: Sequence[RawClient] = []
        self.spectators: list[RawClient] = []
        # The time when each position was due, by its number, in ms since the epoch.
        self.due: list[int] = []
        # The number of the first position whose age counts.
        self.first = 0
        self.ages: Counter[int] = Counter()
        self.ack_ages: list[float] = []
        self.lag = 0.0
        self.errors = 0
        self.closed = 0
        self.refused = 0
        self.disordered = 0

    # -- specific to a dialect

    def make_spectator(self, number: int) -> RawClient:
        raise NotImplementedError

    def position(self, runner: int, number: int, due: int) -> bytes:
        """Build the frame of a position."""
        raise NotImplementedError

    def make_visitor(self) -> RawClient:
        """Create a spectator whose positions are not counted."""
        raise NotImplementedError

    async def start(self) -> None:
        """Connect the runners."""
        raise NotImplementedError

    async def admit(self, first: int) -> None:
        """Connect the spectators from `first` on and return once they follow."""
        raise NotImplementedError

    async def follow(self, client: RawClient, number: int) -> None:
        """Send the follow and wait for the reply, if the dialect has one."""
        raise NotImplementedError

    def begin(self) -> None:
        """Discard the counts so far."""
        raise NotImplementedError

    def count(self) -> tuple[int, int, int]:
        """Return the numbers of deliveries, of conflated positions and of frames."""
        raise NotImplementedError

    def bytes(self) -> int:
        """Return the number of bytes sent to the spectators."""
        raise NotImplementedError

    @property
    def settle(self) -> float:
        """Return how long a position may wait for its frame, in seconds."""
        return 1.0

    def age(self) -> None:
        """Count the ages that were not counted on arrival."""

    # -- the same in all dialects

    async def gather(self, spectators: int) -> None:
        """Connect more spectators."""
        known = len(self.spectators)
        self.spectators += [self.make_spectator(known + n) for n in range(spectators)]
        await self.admit(known)

    def expected(self, published: int) -> int:
        """Return the number of deliveries of complete rounds of all runners."""
        each = 1 if self.options.follows == "all" else 1 / self.runners
        return round(published * each * len(self.spectators))

    async def publish(self, seconds: float) -> None:
        """Publish for every runner at the runner's own time in each period."""
        randomness = random.Random(2015)  # noqa: S311
        phases = sorted(randomness.random() * self.period for _ in range(self.runners))
        order = list(range(self.runners))
        randomness.shuffle(order)
        start, start_ms = time.perf_counter(), time.time() * 1000
        turn = 0
        while True:
            lap, place = divmod(turn, self.runners)
            after = lap * self.period + phases[place]
            if lap * self.period >= seconds:
                return
            now = time.perf_counter()
            if start + after > now:
                await asyncio.sleep(start + after - now)
                now = time.perf_counter()
            self.lag = max(self.lag, now - start - after)
            due = math.floor(start_ms + after * 1000)
            runner = order[place]
            self.due.append(due)
            frame = self.position(runner, len(self.due) - 1, due)
            self.publishers[runner].transport.write(frame)
            turn += 1

    def forget(self) -> None:
        """Start counting."""
        self.begin()
        self.first, self.lag = len(self.due), 0.0
        self.ages.clear()
        self.ack_ages.clear()
        self.errors = self.disordered = self.closed = 0

    async def drain(self, seconds: float) -> None:
        """Wait until everything has arrived, for at most `seconds`."""
        expected = self.expected(len(self.due) - self.first)
        deadline = time.perf_counter() + seconds + self.settle
        while time.perf_counter() < deadline:
            received, merged, _ = self.count()
            if received + merged >= expected:
                break
            await asyncio.sleep(0.1)

    def leave(self) -> None:
        """Close all sockets."""
        for client in (*self.publishers, *self.spectators):
            client.reset()


def percentile(counts: Counter[int], share: float) -> float:
    """Return a percentile of the ages in ms. Lost positions count as infinite."""
    wanted = share * sum(counts.values())
    seen = 0
    for age, count in sorted(counts.items()):
        seen += count
        if seen >= wanted and count:
            return float("inf") if age >= OLDEST_MS else float(age)
    return float("nan")


def source_of(number: int) -> str:
    """Return the address of this machine from which a socket connects."""
    return f"127.0.0.{1 + number // SOCKETS_PER_ADDRESS}"


async def open_all(
    clients: Sequence[RawClient],
    url: str,
    subprotocol: str | None = None,
    first: int = 0,
) -> None:
    """Connect sockets, a limited number at the same time."""
    gate = asyncio.Semaphore(CONCURRENT_HANDSHAKES)

    async def one(client: RawClient, number: int) -> None:
        async with gate:
            await client.open(url, subprotocol, source=source_of(number))

    await asyncio.gather(*(one(c, first + n) for n, c in enumerate(clients)))
