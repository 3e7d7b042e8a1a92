"""The workload `fanout`: runners publish, and spectators follow some of them."""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench import process

TEXT = WSMsgType.TEXT
# The longitude identifies a publication: lng = 10 + number / 1e5. The typed dialect
# sends only these five decimals.
LNG_OFFSET = 1_000_000
# Concurrent handshakes.
CONCURRENT_HANDSHAKES = 32
# Publications before the loop reads again.
BURST = 64
# Without a delivery for this time, outstanding deliveries count as lost.
STALL_S = 2.0
# Payloads whose number is cached. Others are parsed again.
REMEMBERED = 50_000


@dataclass
class Result:
    """One run, in seconds, milliseconds (`_ms`) and MiB (`_mb`). Null: not measured."""

    workload: str
    url: str
    dialect: str
    runners: int
    sockets: int
    spectators: int
    follows: int
    rate: float | None
    window: int | None
    seconds: float
    published: int
    # Including warm-up and registration: the positions that a server should have
    # stored.
    published_in_all: int
    expected: int
    received: int
    merged: int
    lost: int
    disordered: int
    misrouted: int
    errors: int
    closed: int
    deliveries_per_s: float
    server_cpu_s: float | None
    deliveries_per_cpu_s: float | None
    rss_mb: float | None
    generator_cpu: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    # The generator's greatest delay, which is part of the latencies.
    lag_max_ms: float | None = None


class Listener(WSListener):
    """A socket of the load generator. The base class only publishes."""

    transport: WSTransport

    def __init__(self, load: Fanout) -> None:
        self.load = load

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == TEXT:
            self.load.errors += 1  # A publisher receives no other message.

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.load.closed += 1


class Spectator(Listener):
    def __init__(self, load: Fanout, followed: list[int]) -> None:
        super().__init__(load)
        self.followed = followed
        # The server may refuse sockets if all connect at the same time.
        self.follows = False
        # The number that arrived last from each followed runner.
        self.last = dict.fromkeys(followed, -1)

    def ids(self) -> list[int]:
        return [self.load.options.first_id + runner for runner in self.followed]

    def follow(self) -> None:
        raise NotImplementedError

    def strange(self, number: int) -> None:
        """Count a delivery that is not the next one of its runner."""
        if number % self.load.runners in self.last:
            self.load.disordered += 1
        else:
            self.load.misrouted += 1


@dataclass(frozen=True)
class Dialect:
    """The transport of messages: `packet` encodes an event's name and its object."""

    publisher: type[Listener]
    spectator: type[Spectator]
    headers: dict[str, str]
    packet: bytes = b""
    # Seconds until the server has greeted all sockets.
    greeting: float = 0.0

    def packed(self, event: str, message: bytes) -> bytes:
        return self.packet % (event.encode(), message) if self.packet else message

    def unpacked(self, payload: bytes) -> bytes:
        return payload[payload.index(b",") + 1 : -1] if self.packet else payload


class Fanout:
    """The publishers, the spectators and the positions received.

    Runners publish in turn, so that `number % runners` identifies the runner.
    """

    def __init__(self, options: argparse.Namespace, dialect: Dialect) -> None:
        self.options = options
        self.runners: int = options.runners
        self.dialect = dialect
        self.publishers: list[WSTransport] = []
        self.spectators: list[Spectator] = []
        followers = [0] * self.runners
        for spectator in range(options.spectators):
            for runner in self.followed_by(spectator):
                followers[runner] += 1
        self.followers = followers
        # The time when each publication was due, from the number `first_due` on.
        self.due: list[float] = []
        self.first_due = 0
        self.numbers: dict[bytes, int] = {}
        self.latencies: list[float] = []
        self.timed_from: int | None = None
        self.number = 0
        self.sent = 0
        self.received = 0
        self.merged = 0
        self.disordered = 0
        self.misrouted = 0
        self.errors = 0
        self.closed = 0
        self.window: int | None = None
        self.lag = 0.0

    def followed_by(self, spectator: int) -> list[int]:
        follows = self.options.follows
        return [(spectator * follows + k) % self.runners for k in range(follows)]

    # -- publishing

    def publish(self, due: float) -> None:
        number = self.number
        self.number += 1
        runner = number % self.runners
        self.due.append(due)
        self.sent += self.followers[runner]
        degrees, fraction = divmod(LNG_OFFSET + number, 100_000)
        position = b'{"userId":%d,"lat":48.%06d,"lng":%d.%05d}' % (
            self.options.first_id + runner,
            100_000 + number % 800_000,
            degrees,
            fraction,
        )
        self.publishers[runner % len(self.publishers)].send(
            TEXT, self.dialect.packed("position", position)
        )

    def refill(self) -> None:
        """Publish until the window is full. Does nothing without a window."""
        if self.window is None:
            return
        now = time.perf_counter()
        room = self.window - (self.sent - self.received - self.merged)
        for _ in range(BURST):
            fan = self.followers[self.number % self.runners]
            if fan > room:
                return
            self.publish(now)
            room -= fan
        asyncio.get_running_loop().call_soon(self.refill)

    # -- receiving

    def number_of(self, payload: bytes) -> int:
        """Return the number of a publication, or less than 0 for a foreign payload."""
        message = orjson.loads(self.dialect.unpacked(payload))
        if "lng" not in message:
            self.errors += "error" in message
            return -1
        number: int = round(message["lng"] * 1e5) - LNG_OFFSET
        if message["userId"] != self.options.first_id + number % self.runners:
            self.misrouted += 1
            return -1
        if len(self.numbers) >= REMEMBERED:
            self.numbers.clear()
        self.numbers[payload] = number
        return number

    def timed(self, number: int) -> None:
        if self.timed_from is not None and number >= self.timed_from:
            self.latencies.append(
                time.perf_counter() - self.due[number - self.first_due]
            )

    async def complete(self, patience: float) -> bool:
        """Wait until everything has arrived, or nothing has for `patience` seconds."""
        seen, since = self.received, time.perf_counter()
        while self.received + self.merged < self.sent:
            await asyncio.sleep(0.01)
            now = time.perf_counter()
            if self.received != seen:
                seen, since = self.received, now
            elif now - since > patience:
                return False
        return True

    # -- the run

    async def connect(self) -> None:
        options = self.options
        gate = asyncio.Semaphore(CONCURRENT_HANDSHAKES)

        async def one(listener: Listener, headers: dict[str, str]) -> WSTransport:
            async with gate:
                transport, _ = await ws_connect(
                    lambda: listener,
                    options.url,
                    extra_headers=headers,
                    websocket_handshake_timeout=30,
                    read_buffer_init_size=64 * 1024,
                )
            return transport

        dialect = self.dialect
        self.publishers = list(
            await asyncio.gather(
                *(one(dialect.publisher(self), {}) for _ in range(options.sockets))
            )
        )
        self.spectators = [
            dialect.spectator(self, self.followed_by(index))
            for index in range(options.spectators)
        ]
        headers = dialect.headers
        await asyncio.gather(*(one(each, headers) for each in self.spectators))
        await asyncio.sleep(dialect.greeting)
        if not dialect.packet:
            hello = b'{"initialRequest":true,"following":[],"userId":"publisher"}'
            for transport in self.publishers:
                transport.send(TEXT, hello)

    async def register(self) -> None:
        """Follow, and publish rounds until one reaches every follower."""
        for _ in range(10):
            for spectator in self.spectators:
                if not spectator.follows:
                    spectator.follows = True
                    spectator.follow()
            self.sent = self.received = self.merged = 0
            for turn in range(self.runners):
                self.publish(time.perf_counter())
                if turn % 10 == 9:
                    await asyncio.sleep(0)
            if await self.complete(STALL_S):
                await asyncio.sleep(0.3)  # Discard late deliveries of an earlier round.
                if self.received == self.sent:
                    return
        sys.exit(
            f"After 10 rounds the followers had {self.received} of {self.sent} "
            f"positions ({self.errors} errors, {self.closed} sockets closed): "
            "is the server in open mode?"
        )

    def forget(self) -> None:
        """Start counting."""
        self.first_due, self.due = self.number, []
        self.sent = self.received = self.merged = 0
        self.disordered = self.misrouted = self.errors = self.closed = 0

    async def closed_loop(self, seconds: float) -> None:
        self.window = self.options.window
        end = time.perf_counter() + seconds
        seen, since = self.received, time.perf_counter()
        self.refill()
        while (now := time.perf_counter()) < end:
            await asyncio.sleep(min(0.1, end - now))
            if self.received != seen:
                seen, since = self.received, time.perf_counter()
            elif time.perf_counter() - since > STALL_S:
                break  # These are lost, so the window would never empty.
        self.window = None

    async def open_loop(self, seconds: float) -> None:
        period = 1 / self.options.rate
        randomness = random.Random(2015)  # noqa: S311
        phases = sorted(randomness.random() * period for _ in range(self.runners))
        start = time.perf_counter()
        turn = 0
        # Round up, so that the runner is still `number % runners`.
        assert self.number % self.runners == 0
        while True:
            due = start + turn // self.runners * period + phases[turn % self.runners]
            if due >= start + seconds:
                return
            now = time.perf_counter()
            if due > now:
                await asyncio.sleep(due - now)
                now = time.perf_counter()
            self.lag = max(self.lag, now - due)
            self.publish(due)
            turn += 1
            if turn % BURST == 0:
                await asyncio.sleep(0)  # Behind schedule: read what has arrived.

    async def run(self) -> Result:
        options = self.options
        await self.connect()
        await self.register()
        gc.collect()
        gc.disable()
        loop = self.closed_loop if options.rate is None else self.open_loop
        if options.warmup:
            await loop(options.warmup)
            await self.complete(STALL_S)
            while self.number % self.runners:  # A complete number of rounds.
                self.publish(time.perf_counter())
            await self.complete(STALL_S)
        self.forget()
        self.latencies = []
        self.lag = 0.0
        self.timed_from = self.number if options.rate else None
        pid: int | None = options.pid
        cpu = process.cpu_seconds(pid) if pid else 0.0
        own = time.process_time()
        start = time.perf_counter()
        await loop(options.duration)
        seconds = time.perf_counter() - start
        own = time.process_time() - own
        cpu = process.cpu_seconds(pid) - cpu if pid else 0.0
        within = self.received
        await self.complete(STALL_S)
        lost = self.sent - self.received - self.merged
        result = Result(
            workload="fanout",
            url=options.url,
            dialect=options.dialect,
            runners=self.runners,
            sockets=options.sockets,
            spectators=options.spectators,
            follows=options.follows,
            rate=options.rate,
            window=options.window if options.rate is None else None,
            seconds=round(seconds, 3),
            published=len(self.due),
            published_in_all=self.number,
            expected=self.sent,
            received=self.received,
            merged=self.merged,
            lost=lost,
            disordered=self.disordered,
            misrouted=self.misrouted,
            errors=self.errors,
            closed=self.closed,
            deliveries_per_s=round(within / seconds, 1),
            server_cpu_s=round(cpu, 2) if pid else None,
            deliveries_per_cpu_s=round(within / cpu, 1) if cpu else None,
            rss_mb=round(process.rss_kib(pid) / 1024, 1) if pid else None,
            generator_cpu=round(own / seconds, 3),
        )
        if options.rate is not None:
            # Lost deliveries have an infinite latency.
            latencies = sorted(self.latencies) + [float("inf")] * max(0, lost)
            result.p50_ms = percentile_ms(latencies, 0.5)
            result.p99_ms = percentile_ms(latencies, 0.99)
            result.max_ms = percentile_ms(latencies, 1)
            result.lag_max_ms = round(self.lag * 1e3, 2)
        for transport in [*self.publishers, *(s.transport for s in self.spectators)]:
            transport.disconnect(graceful=False)
        return result


def percentile_ms(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(ordered[max(0, int(len(ordered) * share + 0.5) - 1)] * 1e3, 2)
