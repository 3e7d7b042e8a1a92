"""One spectator stops reading while a hundred runners send.

The long form is 40 Hz for 30 s. Under uvicorn the server's memory then grows by less
than 4 MB; for nobody else does the 99th percentile move by more than 20 % or 15 ms;
and within 2 s of reading again the spectator has a position younger than 2 s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson

from bench import process
from tests.faults.by_hand import by_hand
from tests.faults.metrics import gauge
from tests.faults.peer import SUBPROTOCOLS, Peer, open_peer, until
from tests.servers import Server

RUNNERS = 100
# Positions a second and runner; the short form must not fill a busy machine.
RATE, RATE_SHORT = 40, 10
# The others, who must not notice, and how many runners each follows.
SPECTATORS = 20
FOLLOWS = 10
# What the slow spectator's kernel holds for it. Bytes.
RECEIVE_BUFFER = 4096
# The bar. KiB, seconds, share and milliseconds.
GROWTH = 4_000
FRESH = 2.0
P99_SHARE, P99_MS = 0.2, 15.0


@dataclass
class DialectReport:
    """What one dialect's slow spectator did to the server and to the others."""

    seconds: float
    # While it does not read; and, to compare, just before, in as long a time. Recorder
    # and caches may still be growing.
    growth_kib: int = 0
    growth_kib_without: int = 0
    # Positions not sent to it because newer ones replaced them.
    merged: int = 0
    # Over all deliveries to the others, from the time each was due.
    p99_ms_without: float = 0.0
    p99_ms_with: float = 0.0
    # From reading again to the first position younger than FRESH; None: not in 10 s.
    fresh_after_s: float | None = None
    # Of the others' deliveries: out of order, and sockets that were closed.
    disordered: int = 0
    closed: int = 0
    slow_closed: bool = False


@dataclass
class SlowReport:
    kind: str
    long: bool
    dialects: dict[str, DialectReport] = field(default_factory=dict)

    def growth_allowed(self) -> int:
        """Return KiB; in the short form the server has hardly warmed up."""
        return GROWTH if self.long else GROWTH + 32_000

    def faults(self) -> list[str]:
        faults = []
        for name, found in self.dialects.items():
            if self.kind == "uvicorn" and found.growth_kib > self.growth_allowed():
                faults.append(f"{name}: memory grew by {found.growth_kib} KiB")
            if self.kind == "uvicorn" and not found.merged:
                faults.append(f"{name}: nothing was merged away")
            if found.fresh_after_s is None or found.fresh_after_s > FRESH:
                faults.append(f"{name}: fresh only after {found.fresh_after_s} s")
            if found.disordered or found.closed:
                faults.append(f"{name}: the others lost their order or their socket")
            allowed = max(found.p99_ms_without * P99_SHARE, P99_MS)
            if self.long and found.p99_ms_with - found.p99_ms_without > allowed:
                faults.append(
                    f"{name}: p99 from {found.p99_ms_without} to {found.p99_ms_with} ms"
                )
        return faults


class Clock:
    """Stamps a position with the time it was due, as its longitude.

    To the millisecond in five decimals, which both dialects send.
    """

    def __init__(self) -> None:
        self.start = time.monotonic()

    def lng(self, due: float) -> float:
        return round(1 + (due - self.start) / 100, 5)

    def age(self, lng: float) -> float:
        """Return how long ago a position was due, in seconds."""
        return time.monotonic() - self.start - (lng - 1) * 100


class Spectator(Peer):
    """Keeps the age of every position, in seconds."""

    def __init__(self, clock: Clock, dialect: str, runners: list[int]) -> None:
        super().__init__()
        self.clock = clock
        self.dialect = dialect
        self.runners = runners
        self.ages: list[float] = []
        self.youngest = float("inf")
        self.disordered = 0
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

    def position(self, runner: int, lng: float) -> None:
        if lng < self.last[runner]:
            self.disordered += 1
        self.last[runner] = lng
        age = self.clock.age(lng)
        self.ages.append(age)
        self.youngest = min(self.youngest, age)


async def run_field(clock: Clock, peer: Peer, runners: range, rate: int) -> None:
    """Publish for each runner at a rate, their times spread over the period."""
    start = time.monotonic()
    number = 0
    while True:
        due = start + number / (len(runners) * rate)
        now = time.monotonic()
        if due > now:
            await asyncio.sleep(due - now)
            continue
        runner = runners[number % len(runners)]
        peer.send({"userId": runner, "lat": 48.5, "lng": clock.lng(due)})
        number += 1
        if number % len(runners) == 0:
            await asyncio.sleep(0)  # late: the others still get their turn


class Memory:
    growth = 0


@contextmanager
def watched(server: Server) -> Iterator[Memory]:
    """Watch how much more resident memory the server has than now, in KiB."""
    memory = Memory()
    first = process.rss_kib(server.pid)

    async def monitor() -> None:
        while True:
            memory.growth = max(memory.growth, process.rss_kib(server.pid) - first)
            await asyncio.sleep(0.25)

    task = asyncio.create_task(monitor())
    try:
        yield memory
    finally:
        task.cancel()


def p99_ms(spectators: list[Spectator]) -> float:
    """Return the 99th percentile of all ages, and forget them."""
    ages = sorted(age for spectator in spectators for age in spectator.ages)
    for spectator in spectators:
        spectator.ages.clear()
    return round(ages[len(ages) * 99 // 100] * 1000, 1)


async def one_dialect(
    server: Server, dialect: str, runners: range, long: bool
) -> DialectReport:
    url = server.ws_url + "/"
    seconds, rate = (30, RATE) if long else (3, RATE_SHORT)
    clock = Clock()
    report = DialectReport(seconds)
    publisher = await open_peer(url)
    field = asyncio.create_task(run_field(clock, publisher, runners, rate))
    others = [
        Spectator(
            clock,
            dialect,
            [runners[(n * FOLLOWS + k) % RUNNERS] for k in range(FOLLOWS)],
        )
        for n in range(SPECTATORS)
    ]
    slow = Spectator(clock, dialect, list(runners))
    try:
        for spectator in others:
            await spectator.follow(url)
        # The first seconds create runners and fill caches.
        await asyncio.sleep(3)
        p99_ms(others)
        with watched(server) as memory:
            await asyncio.sleep(seconds)
        report.growth_kib_without = memory.growth
        report.p99_ms_without = p99_ms(others)

        await slow.follow(url, RECEIVE_BUFFER)
        await until(lambda: bool(slow.ages), 30)
        await asyncio.sleep(1)
        p99_ms(others)
        merged = await asyncio.to_thread(gauge, server, "spectate_merged_total")
        slow.transport.pause_reading()
        with watched(server) as memory:
            await asyncio.sleep(seconds)
        report.growth_kib = memory.growth
        report.p99_ms_with = p99_ms(others)
        report.merged = int(
            await asyncio.to_thread(gauge, server, "spectate_merged_total") - merged
        )

        slow.youngest = float("inf")
        start = time.monotonic()
        slow.transport.resume_reading()
        while time.monotonic() - start < 10:
            if slow.youngest < FRESH:
                report.fresh_after_s = round(time.monotonic() - start, 3)
                break
            await asyncio.sleep(0.01)
        report.slow_closed = slow.closed.done()
        report.disordered = sum(each.disordered for each in [*others, slow])
        report.closed = sum(each.closed.done() for each in [*others, publisher])
    finally:
        field.cancel()
        for peer in (publisher, slow, *others):
            peer.reset()
    return report


async def slow_spectator(server: Server, long: bool) -> SlowReport:
    """Try it with each dialect in turn."""
    report = SlowReport(server.kind, long)
    for number, dialect in enumerate(SUBPROTOCOLS):
        # Runners of its own: no position of the first is left for the second.
        first = 1 + number * RUNNERS
        report.dialects[dialect] = await one_dialect(
            server, dialect, range(first, first + RUNNERS), long
        )
    return report


if __name__ == "__main__":
    by_hand(slow_spectator)
