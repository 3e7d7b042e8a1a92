"""The workload `seed2015`: what the client of 2015 does to its server."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench import process

TEXT = WSMsgType.TEXT
# Seconds of silence after which nothing more is expected.
SILENCE = 2.0


@dataclass
class Seed2015Result:
    """One run of the 2015 client's workload."""

    workload: str
    url: str
    users: int
    messages: int
    invalid: int
    expected: int
    received: int
    lost: int
    duplicates: int
    disordered: int
    # Positions that are not valid but reached a follower all the same.
    invalid_delivered: int
    errors: int
    # Errors for senders of valid positions, or ids of another JSON type than sent.
    strange: int
    closed: int
    seconds: float
    deliveries_per_s: float
    server_cpu_s: float | None


class Seed2015:
    """100 users follow themselves and the next one, then 1,000 random positions."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.users = [SeedUser(self, index) for index in range(options.users)]
        self.positions: dict[tuple[int, float, float], int] = {}
        self.received = 0
        self.errors = 0
        self.closed = 0
        self.strange = 0

    async def run(self) -> Seed2015Result:
        options = self.options
        first: int = options.first_id
        for user in self.users:
            await ws_connect(lambda user=user: user, options.url)
        for index, user in enumerate(self.users):
            user.send(
                {
                    "initialRequest": True,
                    "following": [first + index, first + index + 1],
                    "userId": first + index,
                }
            )
        await self.registered()
        randomness = random.Random(options.random)  # noqa: S311
        messages = [
            (
                randomness.randrange(options.users),
                randomness.uniform(-180, 180),
                randomness.uniform(-180, 180),
            )
            for _ in range(options.messages)
        ]
        valid = [abs(lat) <= 90 for _, lat, _ in messages]
        expected = sum(
            (2 if user else 1)  # nobody comes before the first
            for (user, _, _), good in zip(messages, valid, strict=True)
            if good
        )
        for number, (index, lat, lng) in enumerate(messages):
            self.positions[first + index, lat, lng] = number
        self.received = self.errors = 0
        for user in self.users:
            user.numbers = []
        pid: int | None = options.pid
        cpu = process.cpu_seconds(pid) if pid else 0.0
        start = last = time.perf_counter()
        for number, (index, lat, lng) in enumerate(messages):
            self.users[index].send({"userId": first + index, "lat": lat, "lng": lng})
            if number % 32 == 31:
                await asyncio.sleep(0)
        seen = -1
        while time.perf_counter() - last < SILENCE:
            if self.received + self.errors != seen:
                seen, last = self.received + self.errors, time.perf_counter()
            await asyncio.sleep(0.01)
        seconds = last - start
        cpu = process.cpu_seconds(pid) - cpu if pid else 0.0
        duplicates = disordered = invalid_delivered = received = 0
        for user in self.users:
            invalid_delivered += sum(not valid[number] for number in user.numbers)
            good = [number for number in user.numbers if valid[number]]
            received += len(set(good))
            duplicates += len(good) - len(set(good))
            last_of: dict[int, int] = {}
            for number in good:
                runner = messages[number][0]
                disordered += last_of.get(runner, -1) > number
                last_of[runner] = number
        return Seed2015Result(
            workload="seed2015",
            url=options.url,
            users=options.users,
            messages=options.messages,
            invalid=valid.count(False),
            expected=expected,
            received=received,
            lost=expected - received,
            duplicates=duplicates,
            disordered=disordered,
            invalid_delivered=invalid_delivered,
            errors=self.errors,
            strange=self.strange,
            closed=self.closed,
            seconds=round(seconds, 3),
            deliveries_per_s=round(received / seconds, 1),
            server_cpu_s=round(cpu, 2) if pid else None,
        )

    async def registered(self) -> None:
        """Wait until every user sees a position of each runner they follow."""
        first: int = self.options.first_id
        for attempt in range(10):
            lng = 10.0 + attempt
            self.positions = {
                (first + index, 1.0, lng): index for index in range(len(self.users))
            }
            for user in self.users:
                user.numbers = []
            for index, user in enumerate(self.users):
                user.send({"userId": first + index, "lat": 1.0, "lng": lng})
            for _ in range(100):
                await asyncio.sleep(0.02)
                if all(
                    len(user.numbers) == (2 if user is not self.users[-1] else 1)
                    for user in self.users
                ):
                    return
        sys.exit("The users' own positions did not come back: is it in open mode?")


class SeedUser(WSListener):
    transport: WSTransport

    def __init__(self, load: Seed2015, index: int) -> None:
        self.load = load
        self.numbers: list[int] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.load.closed += 1

    def send(self, message: dict[str, object]) -> None:
        self.transport.send(TEXT, orjson.dumps(message))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != TEXT:
            return
        message = orjson.loads(frame.get_payload_as_bytes())
        if "error" in message:
            self.load.errors += 1
            return
        key = message.get("userId"), message.get("lat"), message.get("lng")
        number = self.load.positions.get(key)
        # 7 == 7.0 == "7" only in the first case: the JSON type must be the sender's.
        if number is None or type(key[0]) is not int:
            self.load.strange += 1
            return
        self.load.received += 1
        self.numbers.append(number)
