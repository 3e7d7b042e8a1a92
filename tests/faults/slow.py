"""Have one spectator stop reading while a hundred runners publish.

When it reads again, it gets the newest position of each runner and, under uvicorn, few
of those that it has missed: the server queues one per runner.

The short form publishes the next positions when the other spectators have the last
ones, so that a slow machine has no backlog. The long form is 40 Hz for 30 s. Under
uvicorn, the server's memory then grows by less than 4 MB. The 99th percentile of the
other spectators' delays grows by at most 20 % or 15 ms. Within 2 s of reading again,
the spectator has a position younger than 2 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson

from bench import process
from tests.background import in_background
from tests.faults.by_hand import by_hand, open_server
from tests.faults.metrics import gauge
from tests.faults.peer import SUBPROTOCOLS, Peer, open_peer, until
from tests.servers import Server
from tests.waiting import PATIENCE_S

RUNNERS = 100
# Positions per second and runner, in the short form at most.
RATE_HZ = 40
RATE_SHORT_HZ = 10
# Time between positions of a runner, in the short form, while spectators join.
JOINING_S = 1.0
# Duration of each measurement of the long form.
DURATION_S = 30
# The other spectators, which must not be affected.
SPECTATORS = 20
# Runners that each spectator follows.
FOLLOWS = 10
# Size of the kernel's receive buffer of the slow spectator.
RECEIVE_BUFFER_BYTES = 4096
# Positions that the others get while the slow spectator's buffers are full.
MISSED_POSITIONS = 1_000
# Limit of those of these that the slow one receives. One per runner is the newest.
ALLOWED_POSITIONS = 500
# Limits of the long form.
GROWTH_KIB = 4_000
FRESH_S = 2.0
P99_SHARE = 0.2
P99_MS = 15.0


@dataclass
class Figures:
    """Measurements of the long form, while the slow spectator reads and does not."""

    # The recorder and caches may still be growing.
    growth_kib: int = 0
    growth_kib_without: int = 0
    # Percentiles over all deliveries to the others, from the time when each was due.
    p99_ms_without: float = 0.0
    p99_ms_with: float = 0.0
    # Seconds from reading again to the first position younger than FRESH_S. None: not
    # in 10 s.
    fresh_after_s: float | None = None

    def faults(self, kind: str) -> list[str]:
        faults = []
        if kind == "uvicorn" and self.growth_kib > GROWTH_KIB:
            faults.append(f"memory grew by {self.growth_kib} KiB")
        if self.fresh_after_s is None or self.fresh_after_s > FRESH_S:
            faults.append(f"fresh only after {self.fresh_after_s} s")
        allowed = max(self.p99_ms_without * P99_SHARE, P99_MS)
        if self.p99_ms_with - self.p99_ms_without > allowed:
            faults.append(f"p99 from {self.p99_ms_without} to {self.p99_ms_with} ms")
        return faults


@dataclass
class DialectReport:
    """Effects of one dialect's slow spectator on the server and the others."""

    # Positions sent to the others while its buffers were full, and those of these that
    # it got later. None: the newest position of a runner is missing.
    sent: int = 0
    delivered: int | None = None
    # Positions that arrived out of order, and sockets of the others that were closed.
    disordered: int = 0
    closed: int = 0
    # Measured only in the long form.
    figures: Figures | None = None

    def faults(self, kind: str) -> list[str]:
        faults = self.figures.faults(kind) if self.figures else []
        if self.delivered is None:
            faults.append("it did not get the newest position of each runner")
        elif kind == "uvicorn" and self.delivered > ALLOWED_POSITIONS:
            faults.append(f"it got {self.delivered} of {self.sent} positions")
        if self.disordered or self.closed:
            faults.append("the others lost their order or their socket")
        return faults


@dataclass
class SlowReport:
    kind: str
    dialects: dict[str, DialectReport] = field(default_factory=dict)

    def faults(self) -> list[str]:
        return [
            f"{name}: {fault}"
            for name, found in self.dialects.items()
            for fault in found.faults(self.kind)
        ]


# Longitude of each runner's newest position.
Newest = dict[int, float]


class Clock:
    """Encodes the time at which a position was due as its longitude.

    Accurate to 1 ms, in the five decimals that both dialects send.
    """

    def __init__(self) -> None:
        self.start = time.monotonic()

    def lng(self, due: float) -> float:
        return round(1 + (due - self.start) / 100, 5)

    def age(self, lng: float) -> float:
        """Return how long ago a position was due, in seconds."""
        return time.monotonic() - self.start - (lng - 1) * 100


class Spectator(Peer):
    """Records the age of every position, in seconds."""

    def __init__(self, clock: Clock, dialect: str, runners: list[int]) -> None:
        super().__init__()
        self.clock = clock
        self.dialect = dialect
        self.runners = runners
        self.ages: list[float] = []
        self.youngest = float("inf")
        # Positions that are newer than these.
        self.positions = 0
        self.counted_from = dict.fromkeys(runners, 0.0)
        self.disordered = 0
        # Longitude of each runner's newest position so far.
        self.last = dict.fromkeys(runners, 0.0)

    async def follow(self, url: str, receive_buffer: int | None = None) -> None:
        await self.open(url, SUBPROTOCOLS[self.dialect], receive_buffer=receive_buffer)
        if self.dialect == "seed":
            self.send({"initialRequest": True, "following": self.runners, "userId": 0})
        else:
            self.send({"type": "follow", "runners": self.runners})

    def received(self, text: bytes) -> None:
        message = orjson.loads(text)
        if self.dialect == "seed":
            if "lng" in message:
                self.position(message["userId"], message["lng"])
        elif message["type"] == "positions":
            for code, _, _, lng, *_ in message["fixes"]:
                self.position(int(code), lng)

    def count_from(self, newest: Newest) -> None:
        self.counted_from, self.positions = newest, 0

    def has_met_all(self) -> bool:
        return all(self.last.values())

    def has(self, newest: Newest) -> bool:
        return all(newest[runner] == lng for runner, lng in self.last.items())

    def position(self, runner: int, lng: float) -> None:
        if lng < self.last[runner]:
            self.disordered += 1
        self.last[runner] = max(self.last[runner], lng)
        self.positions += lng > self.counted_from[runner]
        age = self.clock.age(lng)
        self.ages.append(age)
        self.youngest = min(self.youngest, age)


@contextlib.asynccontextmanager
async def publishing(
    clock: Clock, peer: Peer, runners: range, rate: int, waits_for: list[Spectator]
) -> AsyncIterator[Newest]:
    """Publish for each runner, in the background, as `run_field` does."""
    newest = dict.fromkeys(runners, 0.0)
    async with in_background(run_field(clock, peer, newest, rate, waits_for)):
        yield newest


async def run_field(
    clock: Clock, peer: Peer, newest: Newest, rate: int, waits_for: list[Spectator]
) -> None:
    """Publish for each runner at a rate, with the runners spread over the period.

    After each period, waits until these spectators have all positions.
    """
    due = time.monotonic()
    while True:
        for runner in newest:
            # Sleep even when late, so that other tasks can run.
            await asyncio.sleep(max(0, due - time.monotonic()))
            newest[runner] = clock.lng(due)
            peer.send({"userId": runner, "lat": 48.5, "lng": newest[runner]})
            due += 1 / (len(newest) * rate)
        if waits_for:
            # Who joins later does not get these positions.
            joined = all(each.has_met_all() for each in waits_for)
            await until(
                lambda: all(each.has(newest) for each in waits_for),
                PATIENCE_S if joined else JOINING_S,
            )
            due = max(due, time.monotonic())


class Memory:
    growth = 0


@contextlib.asynccontextmanager
async def memory_of(server: Server) -> AsyncIterator[Memory]:
    """Yield the growth of the server's resident memory from now on, in KiB."""
    memory = Memory()
    first = process.rss_kib(server.pid)

    async def monitor() -> None:
        while True:
            memory.growth = max(memory.growth, process.rss_kib(server.pid) - first)
            await asyncio.sleep(0.25)

    async with in_background(monitor()):
        yield memory


def p99_ms(spectators: list[Spectator]) -> float:
    """Return the 99th percentile of all ages in milliseconds, and clear the ages."""
    ages = sorted(age for spectator in spectators for age in spectator.ages)
    for spectator in spectators:
        spectator.ages.clear()
    return round(ages[len(ages) * 99 // 100] * 1000, 1)


async def fall_behind(
    server: Server, slow: Spectator, others: list[Spectator], newest: Newest
) -> int:
    """Stop reading until positions have been merged. Return the others' positions.

    Counts positions that are published after its buffers are full.
    """
    # Each runner has one follower among these.
    each_once = others[: RUNNERS // FOLLOWS]

    def sent() -> int:
        return sum(other.positions for other in each_once)

    slow.transport.pause_reading()
    if server.kind == "uvicorn":  # Daphne buffers without a limit
        while not await asyncio.to_thread(gauge, server, "spectate_sockets_behind"):
            await asyncio.sleep(0.05)
    written = dict(newest)
    for spectator in (slow, *each_once):
        spectator.count_from(written)
    await until(lambda: sent() >= MISSED_POSITIONS, PATIENCE_S)
    return sent()


async def measure(server: Server, slow: Spectator, others: list[Spectator]) -> Figures:
    """Measure a period while the slow spectator reads and one while it does not."""
    figures = Figures()
    p99_ms(others)
    async with memory_of(server) as memory:
        await asyncio.sleep(DURATION_S)
    figures.growth_kib_without = memory.growth
    figures.p99_ms_without = p99_ms(others)

    slow.transport.pause_reading()
    async with memory_of(server) as memory:
        await asyncio.sleep(DURATION_S)
    figures.growth_kib = memory.growth
    figures.p99_ms_with = p99_ms(others)

    slow.youngest = float("inf")
    start = time.monotonic()
    slow.transport.resume_reading()
    if await until(lambda: slow.youngest < FRESH_S, 10):
        figures.fresh_after_s = round(time.monotonic() - start, 3)
    return figures


async def one_dialect(
    server: Server, dialect: str, runners: range, long: bool
) -> DialectReport:
    url = server.ws_url + "/"
    clock = Clock()
    report = DialectReport()
    publisher = await open_peer(url)
    others = [
        Spectator(
            clock,
            dialect,
            [runners[(n * FOLLOWS + k) % RUNNERS] for k in range(FOLLOWS)],
        )
        for n in range(SPECTATORS)
    ]
    slow = Spectator(clock, dialect, list(runners))
    everybody = [*others, slow]
    rate, waits_for = (RATE_HZ, []) if long else (RATE_SHORT_HZ, others)
    field = (clock, publisher, runners, rate, waits_for)
    try:
        async with publishing(*field) as newest:
            for spectator in others:
                await spectator.follow(url)
            await slow.follow(url, RECEIVE_BUFFER_BYTES)
            # The first positions create runners and fill caches.
            await until(lambda: all(s.has_met_all() for s in everybody), PATIENCE_S)
            report.sent = await fall_behind(server, slow, others, newest)
        await until(lambda: all(o.has(newest) for o in others), PATIENCE_S)
        slow.transport.resume_reading()
        if await until(lambda: slow.has(newest), PATIENCE_S):
            report.delivered = slow.positions
        if long:
            async with publishing(*field):
                report.figures = await measure(server, slow, others)
        report.disordered = sum(each.disordered for each in everybody)
        report.closed = sum(each.closed.done() for each in [*others, publisher])
    finally:
        for peer in (publisher, *everybody):
            peer.reset()
    return report


async def slow_spectator(server: Server, long: bool) -> SlowReport:
    """Run the scenario with each dialect in turn."""
    report = SlowReport(server.kind)
    for number, dialect in enumerate(SUBPROTOCOLS):
        # Each dialect has different runners, so that no position is left from before.
        first = 1 + number * RUNNERS
        report.dialects[dialect] = await one_dialect(
            server, dialect, range(first, first + RUNNERS), long
        )
    return report


if __name__ == "__main__":
    by_hand(slow_spectator, started=open_server)
