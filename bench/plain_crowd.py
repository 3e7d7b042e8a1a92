"""Crowds for the seed dialect, as plain messages or in packets of Engine.io.

With one frame per position, some sockets read all messages. For the others only bytes
are counted, because all frames have the same length.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any

import orjson

from bench.crowd import OLDEST_MS, Crowd, open_all
from tests.websocket import RawClient, frame, received_of

# Sockets that read all messages.
READERS = 50
# The longitude identifies a position. Its last digit is a 1, so that every frame has
# the same length.
LNG = 10_000_001


class PlainCrowd(Crowd):
    """A crowd of the seed dialect: one frame per position, ids instead of tokens."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.ids = [1001 + runner for runner in range(self.runners)]
        self.frame_size = 0

    def wrap(self, event: str, message: dict[str, Any]) -> bytes:
        return orjson.dumps(message)

    def unwrap(self, payload: bytes) -> Any:
        return orjson.loads(payload)

    def make_publisher(self) -> RawClient:
        return Reader(self)

    def make_spectator(self, number: int) -> RawClient:
        # Spread the readers over those who connect first and last.
        every = max(1, self.options.spectators // READERS)
        return Reader(self) if number % every == 0 else Weigher(self)

    def make_visitor(self) -> RawClient:
        return RawClient()

    def position(self, runner: int, number: int, due: int) -> bytes:
        degrees, millionths = divmod(LNG + 10 * number, 1_000_000)
        position = b'{"userId":%d,"lat":48.123451,"lng":%d.%06d}'
        return frame(
            self.wrapped_position(position % (self.ids[runner], degrees, millionths))
        )

    def wrapped_position(self, position: bytes) -> bytes:
        return position

    async def greet(self, clients: Sequence[RawClient]) -> None:
        """Exchange the messages between the handshake and the first command."""

    def arrived(self, message: Any) -> None:
        number = (round(message["lng"] * 1e6) - LNG) // 10
        if number >= self.first:
            age = time.time() * 1000 - self.due[number]
            self.ages[min(round(age), OLDEST_MS - 1)] += 1

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
        # Publish rounds until one reaches everybody, which proves that all follow.
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

    async def follow(self, client: RawClient, number: int) -> None:
        ids = self.ids
        if self.options.follows != "all":
            ids = [ids[number % self.runners]]
        client.transport.write(
            frame(
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


class Weigher(RawClient):
    """Counts bytes."""

    def __init__(self, crowd: PlainCrowd) -> None:
        super().__init__()
        self.crowd = crowd
        self.bytes = 0
        self.frames = 0

    def buffer_updated(self, size: int) -> None:
        if self.status.done():
            self.bytes += size
        else:
            super().buffer_updated(size)

    def lost(self) -> None:
        self.crowd.closed += 1


class Reader(Weigher):
    """Reads all messages."""

    def buffer_updated(self, size: int) -> None:
        RawClient.buffer_updated(self, size)

    def begins(self, size: int, data: Any, start: int) -> bool:
        return True

    def received(self, payload: bytes) -> None:
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
    """The same messages in Engine.io's packets."""

    def wrap(self, event: str, message: dict[str, Any]) -> bytes:
        return b'42["%b",%b]' % (event.encode(), orjson.dumps(message))

    def wrapped_position(self, position: bytes) -> bytes:
        return b'42["position",%b]' % position

    def unwrap(self, payload: bytes) -> Any:
        return orjson.loads(payload[2:])[1] if payload.startswith(b"42") else None

    def make_publisher(self) -> RawClient:
        return SocketIoReader(self)

    def make_spectator(self, number: int) -> RawClient:
        reads = isinstance(super().make_spectator(number), Reader)
        return SocketIoReader(self) if reads else SocketIoWeigher(self)

    async def greet(self, clients: Sequence[RawClient]) -> None:
        for number, client in enumerate(clients):
            client.transport.write(frame(b"40"))
            if number % 50 == 49:
                await asyncio.sleep(0.02)
        await asyncio.sleep(1)


# Engine.io's ping, which is a separate frame, and the answer to it.
PING_FRAME = b"\x81\x012"
PONG_FRAME = frame(b"3")


class SocketIoReader(Reader):
    def received(self, payload: bytes) -> None:
        if payload == b"2":
            self.transport.write(PONG_FRAME)
        else:
            super().received(payload)


class SocketIoWeigher(Weigher):
    def buffer_updated(self, size: int) -> None:
        super().buffer_updated(size)
        if self.status.done() and PING_FRAME in received_of(size):
            self.bytes -= len(PING_FRAME)
            self.transport.write(PONG_FRAME)
