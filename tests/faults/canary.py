"""A runner and two spectators that must not be affected by other clients."""

from __future__ import annotations

import asyncio
from typing import Self

import orjson

from tests.faults.peer import Peer, open_peer, until
from tests.servers import Server

RATE_HZ = 10
# No other client may publish for this runner.
RUNNER = 2_000_000
LNG_OFFSET = 1_000_000


def lng_of(number: int) -> float:
    """Encode a position's number as its longitude, in the decimals of both dialects."""
    return (LNG_OFFSET + number) / 1e5


def number_of(lng: float) -> int:
    return round(lng * 1e5) - LNG_OFFSET


class SeedCanary(Peer):
    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []
        self.merged = 0
        # Frames that are not positions. None are expected.
        self.other: list[bytes] = []

    def follow(self) -> None:
        self.send({"initialRequest": True, "following": [RUNNER], "userId": 0})

    def received(self, text: bytes) -> None:
        message = orjson.loads(text)
        if "lng" in message:
            self.numbers.append(number_of(message["lng"]))
        else:
            self.other.append(text)


class TypedCanary(SeedCanary):
    """Ignores fixes whose time it has already received, as the protocol requires."""

    def __init__(self) -> None:
        super().__init__()
        self.times: set[int] = set()

    def follow(self) -> None:
        self.send({"type": "follow", "runners": [RUNNER], "tick": 0})

    def received(self, text: bytes) -> None:
        message = orjson.loads(text)
        if message["type"] == "positions":
            self.merged += message["merged"]
            for _, t, _, lng, *_ in message["fixes"]:
                if t not in self.times:
                    self.times.add(t)
                    self.numbers.append(number_of(lng))
        elif message["type"] == "error":
            self.other.append(text)


class Canary:
    """A runner at 10 Hz with a spectator of each dialect. Use it with `async with`.

    Leaving the block raises `AssertionError` if a position was lost, duplicated or out
    of order, or if a socket was closed.
    """

    def __init__(self, server: Server) -> None:
        self.url = server.ws_url + "/"
        self.published = 0
        self.spectators: list[SeedCanary] = [SeedCanary(), TypedCanary()]

    async def __aenter__(self) -> Self:
        self.runner = await open_peer(self.url)
        for spectator, subprotocol in zip(
            self.spectators, (None, "spectate.v1"), strict=True
        ):
            await spectator.open(self.url, subprotocol)
            spectator.follow()
        self.task = asyncio.create_task(self._publish())
        # A follow is in force once a position has arrived. Earlier positions may be
        # missing.
        if not await until(lambda: all(each.numbers for each in self.spectators), 20):
            self._disconnect()
            raise AssertionError(f"No position came, {self._others()}.")
        return self

    def _others(self) -> str:
        return f"but {[each.other for each in self.spectators]}"

    def _disconnect(self) -> None:
        self.task.cancel()
        for peer in (self.runner, *self.spectators):
            peer.reset()

    async def _publish(self) -> None:
        while True:
            lng = lng_of(self.published)
            self.runner.send({"userId": RUNNER, "lat": 48.5, "lng": lng})
            self.published += 1
            await asyncio.sleep(1 / RATE_HZ)

    async def __aexit__(self, *exc: object) -> None:
        self.task.cancel()
        try:
            if exc[0] is None:
                await self._check()
        finally:
            self._disconnect()

    async def _check(self) -> None:
        for peer in (self.runner, *self.spectators):
            assert not peer.closed.done(), f"Closed with {peer.closed.result()}."
        last = self.published - 1
        await until(lambda: all(e.numbers[-1] == last for e in self.spectators), 10)
        for spectator in self.spectators:
            numbers = spectator.numbers
            assert not spectator.other, self._others()
            assert numbers == sorted(set(numbers)), "Doubled or out of order."
            missing = self.published - numbers[0] - len(numbers)
            # The first position to arrive may have replaced earlier ones.
            assert missing <= spectator.merged <= missing + numbers[0], (
                f"{self.published - numbers[0]} positions, {len(numbers)} arrived, "
                f"{spectator.merged} merged."
            )
