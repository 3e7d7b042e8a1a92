"""Who takes part in a workload, in each dialect: runners, spectators, what arrived.

Positions are due at fixed times, and an age counts from then (open loop). Of the typed
dialect every frame of every socket is counted and aged: sockets get the same bytes, so
each frame is read once. Of the other dialects, with a frame a position, some sockets
read all they get; of the others the bytes are counted, frames being of one length.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from bench.client import (
    CONNECTING,
    PEEK,
    Client,
    masked,
    open_all,
    received_of,
)
from bench.field import LENGTH, METRES_A_DEGREE, START

# Metres a second; and the metres between one runner and the next.
SPEED, GAP = 3.3, 100.0
# Sockets that read everything, in the dialects that send a frame a position.
READERS = 50
# How long a spectator who is turned away stays away. Seconds.
BACK_OFF = 2.0
# Ages are counted by the millisecond up to here.
OLDEST = 120_000
# A position is numbered by its longitude in the dialects of the peers; the last digit
# is a 1, so that every frame has the same length.
LNG = 10_000_001


class Crowd:
    """The runners, the spectators and what arrived."""

    subprotocol = ""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.runners: int = options.runners
        self.period = 1.0 / options.rate
        self.publishers: Sequence[Client] = []
        self.spectators: list[Client] = []
        # By number: when it was due, milliseconds since the epoch.
        self.due: list[int] = []
        # The first whose age counts.
        self.first = 0
        self.ages: Counter[int] = Counter()
        self.ack_ages: list[float] = []
        self.lag = 0.0
        self.errors = 0
        self.closed = 0
        self.refused = 0
        self.disordered = 0

    # What a dialect does in its own way

    def make_spectator(self, number: int) -> Client:
        raise NotImplementedError

    def position(self, runner: int, number: int, due: int) -> bytes:
        """Build the frame of a position."""
        raise NotImplementedError

    def make_visitor(self) -> Client:
        """Make a spectator whom nobody counts."""
        raise NotImplementedError

    async def start(self) -> None:
        """Connect the runners."""
        raise NotImplementedError

    async def admit(self, first: int) -> None:
        """Connect the spectators from this one on; return once they follow."""
        raise NotImplementedError

    async def follow(self, client: Client, number: int) -> None:
        """Send what follows, and wait for the answer if the dialect has one."""
        raise NotImplementedError

    def begin(self) -> None:
        """Forget what arrived so far."""
        raise NotImplementedError

    def count(self) -> tuple[int, int, int]:
        """Return deliveries, those merged, and frames."""
        raise NotImplementedError

    def bytes(self) -> int:
        """Return how many bytes the spectators were sent."""
        raise NotImplementedError

    @property
    def settle(self) -> float:
        """Return how long a position may wait for its frame. Seconds."""
        return 1.0

    def age(self) -> None:
        """Count ages that were not counted as they came."""

    # The same in all

    async def gather(self, spectators: int) -> None:
        """Let that many more spectators in."""
        known = len(self.spectators)
        self.spectators += [self.make_spectator(known + n) for n in range(spectators)]
        await self.admit(known)

    def expected(self, published: int) -> int:
        """Return the deliveries that whole rounds of all runners make."""
        each = 1 if self.options.follows == "all" else 1 / self.runners
        return round(published * each * len(self.spectators))

    async def publish(self, seconds: float) -> None:
        """Have every runner publish at their own time in each period."""
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
        """Wait until all arrived, for so long at most."""
        expected = self.expected(len(self.due) - self.first)
        deadline = time.perf_counter() + seconds + self.settle
        while time.perf_counter() < deadline:
            received, merged, _ = self.count()
            if received + merged >= expected:
                break
            await asyncio.sleep(0.1)

    def leave(self) -> None:
        """Close everything."""
        for client in (*self.publishers, *self.spectators):
            client.reset()


def percentile(counts: Counter[int], share: float) -> float:
    """Return a percentile of counted milliseconds; infinite for what never came."""
    wanted = share * sum(counts.values())
    seen = 0
    for age, count in sorted(counts.items()):
        seen += count
        if seen >= wanted and count:
            return float("inf") if age >= OLDEST else float(age)
    return float("nan")


# -- spectate.v1


@dataclass(slots=True)
class Frame:
    """A `positions` frame, as the first socket that got it read it.

    `first` is the number of the oldest position in it; arrivals are milliseconds
    since the epoch.
    """

    size: int
    time: int
    times: list[int]
    merged: int
    arrivals: list[float] = field(default_factory=list)


class TypedCrowd(Crowd):
    subprotocol = "spectate.v1"

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        with open(options.field, "rb") as file:
            self.field: dict[str, Any] = orjson.loads(file.read())
        self.frames: dict[bytes, Frame] = {}
        self.newest: dict[str, int] = {}
        self.since = 0
        self.metres = [GAP * runner for runner in range(self.runners)]

    @property
    def settle(self) -> float:
        return 0.5 + 2 * float(self.options.tick) / 1000

    def make_spectator(self, number: int) -> Client:
        return TypedSpectator(self)

    def make_visitor(self) -> Client:
        return TypedSpectator(self, counts=False)

    def position(self, runner: int, number: int, due: int) -> bytes:
        self.metres[runner] = (self.metres[runner] + SPEED * self.period) % LENGTH
        return masked(
            b'{"type":"publish","id":%d,"fixes":[{"t":%d,"lat":%.6f,"lng":%.6f,'
            b'"accuracy":5,"speed":%.1f,"heading":0}]}'
            % (
                number,
                due,
                START[0] + self.metres[runner] / METRES_A_DEGREE,
                START[1],
                SPEED,
            )
        )

    async def start(self) -> None:
        self.publishers = [TypedPublisher(self) for _ in range(self.runners)]
        await open_all(self.publishers, self.options.url, self.subprotocol)
        for publisher, token in zip(
            self.publishers, self.field["tokens"], strict=False
        ):
            publisher.send({"type": "auth", "token": token})
        # Somebody has to be seen before there is anything to watch.
        await self.publish(self.period)

    async def admit(self, first: int) -> None:
        gate = asyncio.Semaphore(CONNECTING)

        async def one(number: int) -> None:
            while True:
                async with gate:
                    client = self.spectators[number]
                    await client.open(
                        self.options.url, self.runners + number, self.subprotocol
                    )
                    await self.follow(client, number)
                if client.close_code is None:
                    return
                # Overloaded, it said: come back later.
                self.refused += 1
                self.closed -= 1
                await asyncio.sleep(BACK_OFF)
                self.spectators[number] = self.make_spectator(number)

        await asyncio.gather(*(one(n) for n in range(first, len(self.spectators))))

    async def follow(self, client: Client, number: int) -> None:
        assert isinstance(client, TypedSpectator)
        if client.close_code is not None:
            return
        if self.options.follows == "all":
            what: dict[str, Any] = {"races": [self.field["race"]]}
        else:
            what = {"runners": [self.field["codes"][number % self.runners]]}
        client.send({"type": "follow", "tick": self.options.tick, **what})
        await client.followed

    def learn(self, key: bytes, payload: bytes, now: float) -> Frame:
        """Read a frame that nobody had before."""
        message = orjson.loads(payload)
        times = []
        for code, t, *_ in message["fixes"]:
            times.append(t)
            if self.newest.get(code, 0) >= t:
                self.disordered += 1
            self.newest[code] = t
        frame = Frame(len(payload), message["time"], times, message["merged"])
        self.frames[key] = frame
        return frame

    def begin(self) -> None:
        # The keys stay: a slow socket may still get one of them.
        for frame in self.frames.values():
            frame.arrivals.clear()
        self.since = int(time.time() * 1000)

    def count(self) -> tuple[int, int, int]:
        received = merged = frames = 0
        for frame in self.frames.values():
            # What was due before the count began is not expected.
            new = sum(t >= self.since for t in frame.times)
            frames += len(frame.arrivals)
            received += len(frame.arrivals) * new
            merged += len(frame.arrivals) * (frame.merged if new else 0)
        return received, merged, frames

    def bytes(self) -> int:
        return sum(len(f.arrivals) * (f.size + 4) for f in self.frames.values())

    def age(self) -> None:
        for frame in self.frames.values():
            arrivals = Counter(round(arrived) for arrived in frame.arrivals)
            for t in frame.times:
                for arrived, count in arrivals.items() if t >= self.since else ():
                    self.ages[min(arrived - t, OLDEST - 1)] += count


class TypedPublisher(Client):
    def __init__(self, crowd: TypedCrowd) -> None:
        super().__init__()
        self.crowd = crowd

    def begins(self, size: int, data: Any, start: int) -> bool:
        return True

    def text(self, payload: bytes) -> None:
        message = orjson.loads(payload)
        crowd = self.crowd
        if message["type"] == "ack":
            crowd.ack_ages.append(time.time() * 1000 - crowd.due[message["id"]])
            crowd.errors += len(message["rejected"])
        elif message["type"] == "error":
            crowd.errors += 1
            print(payload.decode(), file=sys.stderr)

    def lost(self) -> None:
        self.crowd.closed += 1


class TypedSpectator(Client):
    def __init__(self, crowd: TypedCrowd, *, counts: bool = True) -> None:
        super().__init__()
        self.crowd = crowd
        self.counts = counts
        self.followed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frame: Frame | None = None
        self._key = b""

    def begins(self, size: int, data: Any, start: int) -> bool:
        key = bytes(data[start : start + PEEK])
        if key.startswith(b'{"type":"positions"'):
            if not self.counts:
                return False
            frame = self.crowd.frames.get(key)
            if frame is not None and frame.size == size:
                self._frame = frame
                return False
            self._key = key
            return True
        if key.startswith(b'{"type":"snapshot"'):
            self._frame = None
            if not self.followed.done():
                self.followed.set_result(None)
            return False
        if key.startswith(b'{"type":"error"'):
            self.crowd.errors += 1
        self._frame = None
        return False

    def skipped(self) -> None:
        if self._frame is not None:
            self._frame.arrivals.append(time.time() * 1000)

    def text(self, payload: bytes) -> None:
        now = time.time() * 1000
        frame = self.crowd.frames.get(self._key)
        if frame is None or frame.size != len(payload):
            frame = self.crowd.learn(self._key, payload, now)
        frame.arrivals.append(now)

    def lost(self) -> None:
        self.crowd.closed += self.counts
        if not self.followed.done():
            self.followed.set_result(None)  # The result says how many were closed.


# -- the peers' dialects


class PlainCrowd(Crowd):
    """The seed dialect: a frame a position, ids instead of tokens."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.ids = [1001 + runner for runner in range(self.runners)]
        self.frame_size = 0

    def wrap(self, event: str, message: dict[str, Any]) -> bytes:
        return orjson.dumps(message)

    def unwrap(self, payload: bytes) -> Any:
        return orjson.loads(payload)

    def make_publisher(self) -> Client:
        return Reader(self)

    def make_spectator(self, number: int) -> Client:
        # Spread over those who connect first and last.
        every = max(1, self.options.spectators // READERS)
        return Reader(self) if number % every == 0 else Weigher(self)

    def make_visitor(self) -> Client:
        return Client()

    def position(self, runner: int, number: int, due: int) -> bytes:
        degrees, millionths = divmod(LNG + 10 * number, 1_000_000)
        place = b'{"userId":%d,"lat":48.123451,"lng":%d.%06d}'
        return masked(
            self.wrapped_position(place % (self.ids[runner], degrees, millionths))
        )

    def wrapped_position(self, place: bytes) -> bytes:
        return place

    async def greet(self, clients: Sequence[Client]) -> None:
        """Do what comes between the handshake and the first message."""

    def arrived(self, message: Any) -> None:
        number = (round(message["lng"] * 1e6) - LNG) // 10
        if number >= self.first:
            age = time.time() * 1000 - self.due[number]
            self.ages[min(round(age), OLDEST - 1)] += 1

    async def start(self) -> None:
        self.publishers = [self.make_publisher() for _ in range(self.runners)]
        await open_all(self.publishers, self.options.url)
        await self.greet(self.publishers)

    async def admit(self, first: int) -> None:
        clients = self.spectators[first:]
        await open_all(clients, self.options.url, first=self.runners + first)
        await self.greet(clients)
        for number, client in enumerate(clients, first):
            await self.follow(client, number)
            if number % 50 == 49:
                await asyncio.sleep(0.02)
        # A round that reaches everybody: all of them follow.
        for _ in range(20):
            await asyncio.sleep(1.0)
            before = self.first, self.ages.copy()
            self.begin()
            await self.publish(self.period)
            await asyncio.sleep(2.0)
            self.first, self.ages = before
            seen = self.count()[0]
            if seen == self.expected(self.runners):
                return
        sys.exit(f"Not all follow: they saw {seen} of {self.expected(self.runners)}")

    async def follow(self, client: Client, number: int) -> None:
        ids = self.ids
        if self.options.follows != "all":
            ids = [ids[number % self.runners]]
        client.transport.write(
            masked(
                self.wrap(
                    "follow", {"initialRequest": True, "following": ids, "userId": 0}
                )
            )
        )

    def begin(self) -> None:
        for each in self.spectators:
            assert isinstance(each, Weigher)
            each.bytes = each.frames = 0

    def count(self) -> tuple[int, int, int]:
        frames = 0
        for each in self.spectators:
            assert isinstance(each, Weigher)
            if isinstance(each, Reader):
                frames += each.frames
            elif self.frame_size:
                frames += each.bytes // self.frame_size
        return frames, 0, frames

    def bytes(self) -> int:
        return self.frame_size * self.count()[0]


class Weigher(Client):
    """Counts bytes."""

    def __init__(self, crowd: PlainCrowd) -> None:
        super().__init__()
        self.crowd = crowd
        self.bytes = 0
        self.frames = 0

    def buffer_updated(self, size: int) -> None:
        if self._shaken:
            self.bytes += size
        else:
            super().buffer_updated(size)

    def lost(self) -> None:
        self.crowd.closed += 1


class Reader(Weigher):
    """Reads everything."""

    def buffer_updated(self, size: int) -> None:
        Client.buffer_updated(self, size)

    def begins(self, size: int, data: Any, start: int) -> bool:
        return True

    def text(self, payload: bytes) -> None:
        crowd = self.crowd
        message = crowd.unwrap(payload)
        if message is None:
            return
        if "lng" in message:
            size = len(payload) + 2
            crowd.frame_size = size if size < 128 else size + 2
            self.frames += 1
            crowd.arrived(message)
        else:
            crowd.errors += 1


class SocketIoCrowd(PlainCrowd):
    """Engine.io's packets around the same messages."""

    def wrap(self, event: str, message: dict[str, Any]) -> bytes:
        return b'42["%b",%b]' % (event.encode(), orjson.dumps(message))

    def wrapped_position(self, place: bytes) -> bytes:
        return b'42["position",%b]' % place

    def unwrap(self, payload: bytes) -> Any:
        return orjson.loads(payload[2:])[1] if payload.startswith(b"42") else None

    def make_publisher(self) -> Client:
        return SocketIoReader(self)

    def make_spectator(self, number: int) -> Client:
        reads = isinstance(super().make_spectator(number), Reader)
        return SocketIoReader(self) if reads else SocketIoWeigher(self)

    async def greet(self, clients: Sequence[Client]) -> None:
        for number, client in enumerate(clients):
            client.transport.write(masked(b"40"))
            if number % 50 == 49:
                await asyncio.sleep(0.02)
        await asyncio.sleep(1)


# Engine.io's ping, a frame of its own, and what answers it.
PING_FRAME, PONG_FRAME = b"\x81\x012", masked(b"3")


class SocketIoReader(Reader):
    def text(self, payload: bytes) -> None:
        if payload == b"2":
            self.transport.write(PONG_FRAME)
        else:
            super().text(payload)


class SocketIoWeigher(Weigher):
    def buffer_updated(self, size: int) -> None:
        super().buffer_updated(size)
        if self._shaken and PING_FRAME in received_of(size):
            self.bytes -= len(PING_FRAME)
            self.transport.write(PONG_FRAME)


CROWDS: dict[str, type[Crowd]] = {
    "v1": TypedCrowd,
    "seed": PlainCrowd,
    "socketio": SocketIoCrowd,
}
