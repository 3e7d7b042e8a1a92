"""A crowd for the dialect `spectate.v1`.

Every frame of every socket is counted and its age recorded. Sockets get the same bytes,
so each frame is parsed once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from bench.crowd import (
    CONCURRENT_HANDSHAKES,
    OLDEST_MS,
    Crowd,
    open_all,
    source_of,
)
from bench.field import LENGTH_M, START
from runners.units.earth import METRES_PER_DEGREE
from tests.websocket import PEEK_BYTES, RawClient, frame

SPEED_MPS = 3.3
# Between two neighbouring runners.
SPACING_M = 100.0
# How long a refused spectator waits.
BACK_OFF_S = 2.0


@dataclass(slots=True)
class Frame:
    """A `positions` frame, parsed by the first socket that received it.

    All times are in milliseconds since the epoch. `times` are those of its positions.
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
        self.metres = [SPACING_M * runner for runner in range(self.runners)]

    @property
    def settle(self) -> float:
        return 0.5 + 2 * float(self.options.tick) / 1000

    def make_spectator(self, number: int) -> RawClient:
        return TypedSpectator(self)

    def make_visitor(self) -> RawClient:
        return TypedSpectator(self, counts=False)

    def position(self, runner: int, number: int, due: int) -> bytes:
        self.metres[runner] = (self.metres[runner] + SPEED_MPS * self.period) % LENGTH_M
        return frame(
            b'{"type":"publish","id":%d,"fixes":[{"t":%d,"lat":%.6f,"lng":%.6f,'
            b'"accuracy":5,"speed":%.1f,"heading":0}]}'
            % (
                number,
                due,
                START[0] + self.metres[runner] / METRES_PER_DEGREE,
                START[1],
                SPEED_MPS,
            )
        )

    async def start(self) -> None:
        self.publishers = [TypedPublisher(self) for _ in range(self.runners)]
        await open_all(self.publishers, self.options.url, self.subprotocol)
        for publisher, token in zip(
            self.publishers, self.field["tokens"], strict=False
        ):
            publisher.send({"type": "auth", "token": token})
        # Runners need a position before anybody can watch them.
        await self.publish(self.period)

    async def admit(self, first: int) -> None:
        gate = asyncio.Semaphore(CONCURRENT_HANDSHAKES)

        async def one(number: int) -> None:
            while True:
                async with gate:
                    client = self.spectators[number]
                    await client.open(
                        self.options.url,
                        self.subprotocol,
                        source=source_of(self.runners + number),
                    )
                    await self.follow(client, number)
                if not client.closed.done():
                    return
                # The server is overloaded, so reconnect later.
                self.refused += 1
                self.closed -= 1
                await asyncio.sleep(BACK_OFF_S)
                self.spectators[number] = self.make_spectator(number)

        await asyncio.gather(*(one(n) for n in range(first, len(self.spectators))))

    async def follow(self, client: RawClient, number: int) -> None:
        assert isinstance(client, TypedSpectator)
        if client.closed.done():
            return
        if self.options.follows == "all":
            what: dict[str, Any] = {"races": [self.field["race"]]}
        else:
            what = {"runners": [self.field["codes"][number % self.runners]]}
        client.send({"type": "follow", "tick": self.options.tick, **what})
        await client.followed

    def learn(self, key: bytes, payload: bytes, now: float) -> Frame:
        """Parse a frame that no socket has received before."""
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
        # Keep the keys, because a slow socket may still receive these frames.
        for each in self.frames.values():
            each.arrivals.clear()
        self.since = int(time.time() * 1000)

    def count(self) -> tuple[int, int, int]:
        received = merged = frames = 0
        for each in self.frames.values():
            # Positions that were due before counting started are not expected.
            new = sum(t >= self.since for t in each.times)
            frames += len(each.arrivals)
            received += len(each.arrivals) * new
            merged += len(each.arrivals) * (each.merged if new else 0)
        return received, merged, frames

    def bytes(self) -> int:
        return sum(len(f.arrivals) * (f.size + 4) for f in self.frames.values())

    def age(self) -> None:
        for each in self.frames.values():
            arrivals = Counter(round(arrived) for arrived in each.arrivals)
            for t in each.times:
                for arrived, count in arrivals.items() if t >= self.since else ():
                    self.ages[min(arrived - t, OLDEST_MS - 1)] += count


class TypedPublisher(RawClient):
    def __init__(self, crowd: TypedCrowd) -> None:
        super().__init__()
        self.crowd = crowd

    def begins(self, size: int, data: Any, start: int) -> bool:
        return True

    def received(self, payload: bytes) -> None:
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


class TypedSpectator(RawClient):
    def __init__(self, crowd: TypedCrowd, *, counts: bool = True) -> None:
        super().__init__()
        self.crowd = crowd
        self.counts = counts
        self.followed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frame: Frame | None = None
        self._key = b""

    def begins(self, size: int, data: Any, start: int) -> bool:
        key = bytes(data[start : start + PEEK_BYTES])
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

    def received(self, payload: bytes) -> None:
        now = time.time() * 1000
        frame = self.crowd.frames.get(self._key)
        if frame is None or frame.size != len(payload):
            frame = self.crowd.learn(self._key, payload, now)
        frame.arrivals.append(now)

    def lost(self) -> None:
        self.crowd.closed += self.counts
        if not self.followed.done():
            self.followed.set_result(None)  # `closed` is in the result.
