"""Open and close sockets in every possible way and check that nothing is left behind.

The long form opens 5,000 sockets. Afterwards the server has no more sockets, follows,
groups, tasks or file descriptors than before, and its memory has not grown since the
second thousand.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench import process
from tests.background import in_background
from tests.faults.by_hand import by_hand, open_server
from tests.faults.canary import Canary
from tests.faults.metrics import metrics
from tests.faults.peer import SUBPROTOCOLS, Peer, open_peer
from tests.servers import Server
from tests.waiting import within
from tests.websocket import BINARY, Refused, frame

CONCURRENT_VISITORS = 30
# The runners that visitors follow. The first ten publish all the time.
FOLLOWED = range(1, 51)
PUBLISHING = range(1, 11)
GAUGES = ("spectate_sockets", "spectate_follows", "spectate_groups", "spectate_tasks")
# Time that the server may take to clean up. It remembers a publishing runner for 30 s.
CLEANUP_S = 60.0
# Growth that is left to the allocator, from the second thousand visitors to the last. A
# server that has just started still grows, so the short form allows more.
GROWTH_KIB = 2 * 1024
GROWTH_SHORT_KIB = 16 * 1024


@dataclass
class ChurnReport:
    """Counts before and after, and memory in KiB after every `step` visitors."""

    long: bool
    visitors: int
    step: int
    seconds: float
    before: dict[str, float]
    after: dict[str, float]
    rss_kib: list[int]

    def leaked(self) -> dict[str, float]:
        """Return the counts that have grown, with the difference."""
        return {
            name: self.after[name] - count
            for name, count in self.before.items()
            if self.after[name] > count
        }

    def growth_kib(self) -> int:
        """Return the growth of memory after the first two fifths of the visitors."""
        return self.rss_kib[-1] - self.rss_kib[len(self.rss_kib) * 2 // 5]

    def faults(self) -> list[str]:
        faults = [
            f"{count:.0f} {name} too many" for name, count in self.leaked().items()
        ]
        if self.growth_kib() > (GROWTH_KIB if self.long else GROWTH_SHORT_KIB):
            faults.append(f"The memory grew by {self.growth_kib()} KiB.")
        return faults


def counts(server: Server) -> dict[str, float]:
    """Read the server's gauges and the number of its open files."""
    values = metrics(server)
    found = {name: values[name] for name in GAUGES}
    return found | {"open files": open_files(server)}


def open_files(server: Server) -> int:
    """Count the open files of a server, without those of the database.

    The threads of a pool start and connect on first use.
    """
    count = 0
    for pid in process.family(server.pid):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                count += ".sqlite3" not in os.readlink(descriptor)
    return count


class Visitor:
    """A visitor. Each method is one way to open and end a connection."""

    def __init__(self, url: str, number: int) -> None:
        self.url = url
        self.dialect = ("seed", "v1")[number % 2]
        self.following = [FOLLOWED[(number + k) % len(FOLLOWED)] for k in range(5)]
        self.number = number

    def follow_message(self) -> dict[str, object]:
        if self.dialect == "seed":
            return {"initialRequest": True, "following": self.following, "userId": 0}
        return {"type": "follow", "runners": self.following, "tick": 0}

    async def connect_and_read(self) -> Peer:
        """Follow runners and wait for the first position or snapshot."""
        peer = await open_peer(self.url, self.dialect)
        # Follow a publishing runner too, so that a position arrives.
        self.following.append(PUBLISHING[self.number % len(PUBLISHING)])
        peer.send(self.follow_message())
        await peer.message(30)
        return peer

    async def close_frame(self) -> None:
        peer = await self.connect_and_read()
        await peer.leave()

    async def reset(self) -> None:
        peer = await self.connect_and_read()
        peer.reset()

    async def half_close(self) -> None:
        peer = await self.connect_and_read()
        peer.transport.write_eof()
        await within(peer.closed)

    async def stop_reading(self) -> None:
        peer = await self.connect_and_read()
        peer.transport.pause_reading()
        await asyncio.sleep(0.2)
        peer.reset()

    async def vanish_before_the_request(self) -> None:
        peer = await Peer().connect(self.url)
        peer.reset()

    async def vanish_in_the_request(self) -> None:
        peer = await Peer().connect(self.url)
        request = peer.request(self.url, SUBPROTOCOLS[self.dialect])
        peer.send_raw(request[: len(request) // 2])
        await asyncio.sleep(0.02)
        peer.reset()

    async def vanish_in_the_handshake(self) -> None:
        peer = await Peer().connect(self.url)
        peer.send_raw(peer.request(self.url, SUBPROTOCOLS[self.dialect]))
        await asyncio.sleep((self.number % 4) / 1000)
        peer.reset()

    async def refused(self) -> None:
        with contextlib.suppress(Refused):
            await Peer().open(f"{self.url}nowhere")

    async def vanish_in_a_follow(self) -> None:
        peer = await open_peer(self.url, self.dialect)
        peer.send(self.follow_message())
        await asyncio.sleep((self.number % 4) / 1000)
        peer.reset()

    async def publish_and_vanish(self) -> None:
        peer = await self.connect_and_read()
        for k in range(5):
            peer.send({"userId": self.following[-1], "lat": 1.5, "lng": 2 + k / 10})
        peer.reset()

    async def nonsense(self) -> None:
        peer = await self.connect_and_read()
        for text in (b"", b"[", b"[1]", b'{"userId": [7], "lat": NaN, "lng": {}}'):
            peer.send_raw(frame(text))
        await peer.message(30)
        peer.reset()

    async def not_text(self) -> None:
        peer = await self.connect_and_read()
        peer.send_raw(frame(b"\0", BINARY))
        await within(peer.closed)

    async def not_utf8(self) -> None:
        peer = await self.connect_and_read()
        peer.send_raw(frame(b"\xff\xfe{"))
        await within(peer.closed)

    async def too_big(self) -> None:
        peer = await self.connect_and_read()
        peer.send_raw(frame(b" " * 300_000))
        await within(peer.closed)


WAYS: tuple[Callable[[Visitor], Awaitable[None]], ...] = (
    Visitor.close_frame,
    Visitor.reset,
    Visitor.half_close,
    Visitor.stop_reading,
    Visitor.vanish_before_the_request,
    Visitor.vanish_in_the_request,
    Visitor.vanish_in_the_handshake,
    Visitor.refused,
    Visitor.vanish_in_a_follow,
    Visitor.publish_and_vanish,
    Visitor.nonsense,
    Visitor.not_text,
    Visitor.not_utf8,
    Visitor.too_big,
)


async def come_and_go(url: str, numbers: range) -> None:
    gate = asyncio.Semaphore(CONCURRENT_VISITORS)

    async def visit(number: int) -> None:
        async with gate:
            # Both dialects use each way.
            way = WAYS[number // 2 % len(WAYS)]
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                await way(Visitor(url, number))

    async with asyncio.TaskGroup() as group:
        for number in numbers:
            group.create_task(visit(number))


async def keep_publishing(peer: Peer) -> None:
    """Publish for ten runners that visitors follow, twice per second each.

    Not faster, because a snapshot holds the last minutes, and a growing snapshot would
    look like a leak.
    """
    number = 0
    while True:
        for runner in PUBLISHING:
            number += 1
            lng = 1 + number % 1_000_000 / 1e5
            peer.send({"userId": runner, "lat": 2.5, "lng": lng})
        await asyncio.sleep(0.5)


async def settled(server: Server, limit: dict[str, float]) -> dict[str, float]:
    """Wait until no count exceeds its limit or time is over, then return the counts."""
    deadline = time.monotonic() + CLEANUP_S
    while True:
        now = await asyncio.to_thread(counts, server)
        if all(now[name] <= most for name, most in limit.items()):
            return now
        if time.monotonic() > deadline:
            return now
        await asyncio.sleep(0.5)


async def churn(server: Server, long: bool) -> ChurnReport:
    """Connect visitors while runners publish and a canary watches."""
    visitors, step = (5_000, 250) if long else (280, 28)
    url = server.ws_url + "/"
    async with Canary(server):
        publisher = await open_peer(url)
        async with in_background(keep_publishing(publisher)):
            await asyncio.sleep(1)
            quiet = await asyncio.to_thread(counts, server)
            # Threads, pools and caches that start once are not leaks.
            await come_and_go(url, range(4 * len(WAYS)))
            del quiet["open files"], quiet["spectate_tasks"]
            before = await settled(server, quiet)
            rss = [process.rss_kib(server.pid)]
            start = time.monotonic()
            for first in range(0, visitors, step):
                await come_and_go(url, range(first, first + step))
                rss.append(process.rss_kib(server.pid))
            seconds = time.monotonic() - start
            after = await settled(server, before)
        publisher.reset()
    return ChurnReport(long, visitors, step, round(seconds, 1), before, after, rss)


if __name__ == "__main__":
    by_hand(churn, started=open_server)
