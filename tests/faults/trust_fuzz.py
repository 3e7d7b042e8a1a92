"""Frames and handshakes that hypothesis makes up, beside a canary.

The long form is 100,000 frames and 1,000 handshakes that stall or lie: the process
lives, its memory comes back, the canary misses nothing, the log has no traceback.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from bench import process
from tests.faults.by_hand import by_hand
from tests.faults.canary import Canary
from tests.faults.peer import (
    BINARY,
    CONTINUATION,
    PING,
    SUBPROTOCOLS,
    TEXT,
    Peer,
    frame,
    until,
)
from tests.faults.randomness import new_rng, rng
from tests.servers import Server

T = TypeVar("T")

# Frames of one socket: drawn ones, each followed by this many mutations.
DRAWN, MUTATIONS = 8, 9
PATIENCE = 30.0
# Memory that may stay in use; a server that has just started still grows. KiB.
BACK, BACK_SHORT = 10 * 1024, 40 * 1024
HANDSHAKES_AT_A_TIME = 100

# The parts of the frames.

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 30),
    st.sampled_from([2**53 - 1, 2**53, -1, 1e308, -0.0, 90, 180, 0.5, 10**300]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "7", "bob", "\0", "é", "a" * 41, "__init__", "true"]),
    st.text(max_size=12),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=6), inner, max_size=4),
    ),
    max_leaves=8,
)
ids = st.one_of(st.integers(0, 30), st.sampled_from(["7", "bob", "no such"]), anything)
places = st.one_of(st.floats(-95, 95), anything)
times = st.one_of(st.integers(0, 2**41), st.just(int(time.time() * 1000)), anything)


def message(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A message of the protocol of which any part may be missing."""
    return st.fixed_dictionaries({}, optional=parts)


extras = {
    name: st.one_of(st.floats(-10, 400), anything)
    for name in ("accuracy", "altitude", "speed", "heading", "battery")
}
fixes = message(t=times, lat=places, lng=places, **extras)
seed_messages = st.one_of(
    message(initialRequest=st.just(True), following=st.lists(ids, max_size=6)),
    message(initialRequest=anything, following=anything, userId=ids),
    message(userId=ids, lat=places, lng=places, time=times, **extras),
)
typed_messages = st.one_of(
    message(
        type=st.just("follow"),
        runners=st.one_of(st.lists(ids, max_size=6), anything),
        races=st.one_of(st.lists(st.sampled_from(["on", "no such"])), anything),
        public=st.one_of(st.booleans(), anything),
        share=anything,
        pin=anything,
        since=times,
        tick=st.one_of(st.sampled_from([0, 100, 5000, 1e9, -1]), anything),
        id=anything,
    ),
    message(
        type=st.just("unfollow"),
        runners=st.lists(ids),
        races=anything,
        public=anything,
        id=anything,
    ),
    message(
        type=st.just("publish"),
        fixes=st.one_of(st.lists(st.one_of(fixes, anything), max_size=5), anything),
        id=anything,
    ),
    message(type=st.just("auth"), token=anything, id=anything),
    message(type=st.just("ping"), id=anything, more=anything),
    message(type=anything),
)


def as_text(value: Any) -> bytes:
    return json.dumps(value).encode()


TEXTS = {
    "seed": st.one_of(seed_messages.map(as_text), anything.map(as_text)),
    "v1": st.one_of(typed_messages.map(as_text), anything.map(as_text)),
}
raw = st.one_of(
    st.binary(max_size=40),
    st.builds(
        frame,
        st.binary(max_size=130),
        st.sampled_from([TEXT, BINARY, CONTINUATION, PING, 3, 8, 11]),
        fin=st.booleans(),
    ),
)
sockets = st.one_of(
    *(
        st.tuples(
            st.just(dialect),
            st.lists(texts, min_size=DRAWN, max_size=DRAWN),
            # Garbage ends a connection: most get none.
            st.one_of(st.just(b""), st.just(b""), raw),
            st.integers(0, 2**32),
        )
        for dialect, texts in TEXTS.items()
    )
)


def mutated(text: bytes, dice: random.Random) -> bytes:
    """Cut, double, change or splice a few bytes; still UTF-8, so that it is read."""
    characters = list(text.decode())
    for _ in range(dice.randint(1, 3)):
        at = dice.randint(0, len(characters))
        match dice.randrange(4):
            case 0:
                del characters[at : at + dice.randint(1, 8)]
            case 1:
                characters[at:at] = characters[: dice.randint(1, 8)]
            case 2:
                characters.insert(at, dice.choice('{}[]",:0.-\\e\0é'))
            case _:
                characters[at : at + 1] = chr(dice.randint(1, 0xD7FF))
    return "".join(characters).encode()


@dataclass
class FuzzReport:
    long: bool
    frames: int = 0
    sockets: int = 0
    handshakes: int = 0
    seconds: float = 0.0
    rss_kib: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        faults = list(self.wrong)
        growth = self.rss_kib["after"] - self.rss_kib["before"]
        if growth > (BACK if self.long else BACK_SHORT):
            faults.append(f"The memory grew by {growth} KiB.")
        return faults


class Stranger(Peer):
    """Comes from an address of its own: wrong tokens make one wait ever longer."""

    _numbers = itertools.count(1)

    async def connect(self, url: str, *, receive_buffer: int | None = None) -> Self:
        loop = asyncio.get_running_loop()
        address = urlsplit(url)
        number = next(self._numbers)
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.bind(
                (
                    f"127.{1 + number // 62_500}.{number // 250 % 250}."
                    f"{1 + number % 250}",
                    0,
                )
            )
            await loop.sock_connect(sock, (address.hostname, address.port))
            await loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise
        return self

    def received(self, text: bytes) -> None:
        if b"no barrier" in text or b'"pong"' in text:
            super().received(text)


BARRIER = {
    "seed": {"initialRequest": True, "following": ["no barrier"]},
    "v1": {"type": "ping", "id": "no barrier"},
}


class Loop:
    """An event loop in a thread: hypothesis draws in ours, and is not async."""

    def __enter__(self) -> Self:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self.loop).result()


async def send_frames(
    url: str, dialect: str, texts: list[bytes], garbage: bytes
) -> str | None:
    """Send frames on one socket; return what was wrong, None if nothing."""
    peer = await Stranger().open(url, SUBPROTOCOLS[dialect])
    try:
        for text in texts:
            peer.send_raw(frame(text))
        peer.send(BARRIER[dialect])
        if not await until(
            lambda: peer.closed.done() or not peer.inbox.empty(), PATIENCE
        ):
            return f"{dialect}: no answer to {texts!r}"
        if garbage:
            peer.send_raw(garbage)
            await asyncio.sleep(0)
        return None
    finally:
        peer.reset()


def fuzz_frames(url: str, loop: Loop, report: FuzzReport, frames: int) -> None:
    each = DRAWN * (1 + MUTATIONS)

    # The suite fails for the same frames each time, or for none.
    @seed(rng.getrandbits(32) if report.long else 0)
    @settings(
        max_examples=max(1, frames // each),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(sockets)
    def on_a_socket(drawn: tuple[str, list[bytes], bytes, int]) -> None:
        dialect, texts, garbage, number = drawn
        dice = random.Random(number)
        sent = [
            variant
            for text in texts
            for variant in (text, *(mutated(text, dice) for _ in range(MUTATIONS)))
        ]
        wrong = loop.run(send_frames(url, dialect, sent, garbage))
        report.frames += len(sent) + bool(garbage)
        report.sockets += 1
        if wrong:
            report.wrong.append(wrong)

    on_a_socket()


def lies(url: str) -> Iterator[tuple[str, bytes]]:
    """Handshakes that stall or lie; the empty ones say nothing at all."""
    good = Peer.request(Peer.__new__(Peer), url, "spectate.v1")
    yield "nothing", b""
    yield "half", good[: len(good) // 2]
    yield "all but the end", good[:-2]
    yield "a good one, then silence", good
    yield "a line without end", b"GET /" + b"a" * 70_000
    yield "a header without end", good[:-2] + b"X: " + b"a" * 70_000
    yield "many headers", good[:-2] + b"X: y\r\n" * 2_000 + b"\r\n"
    yield "another version", good.replace(b"Version: 13", b"Version: 12")
    yield "no version", good.replace(b"Sec-WebSocket-Version: 13\r\n", b"")
    yield "no key", good.replace(b"Sec-WebSocket-Key", b"X-Key")
    yield "a short key", good.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ=")
    yield "a key not of base 64", good.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"\xff\x00")
    yield "two hosts", good[:-2] + b"Host: elsewhere.example\r\n\r\n"
    yield "another host", good.replace(b"Host: 127.0.0.1", b"Host: elsewhere.example")
    yield "no host", good.replace(b"Host:", b"X-Host:")
    yield "an origin of nobody", good[:-2] + b"Origin: null\r\n\r\n"
    yield "an origin that is none", good[:-2] + b"Origin: http://[::1\r\n\r\n"
    yield "an origin's port", good[:-2] + b"Origin: http://a:99999999\r\n\r\n"
    yield "a cookie", good[:-2] + b"Cookie: sessionid=" + b"a" * 4000 + b"\r\n\r\n"
    yield "a session", good[:-2] + b"Cookie: sessionid=\xff;;=;\r\n\r\n"
    yield "a token", good[:-2] + b"Authorization: Bearer \xff\xfe\r\n\r\n"
    yield "basic", good[:-2] + b"Authorization: Basic !!!\r\n\r\n"
    yield "a body", good[:-2] + b"Content-Length: 100\r\n\r\nhello"
    yield "a chunked body", good[:-2] + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    yield "HTTP/1.0", good.replace(b"HTTP/1.1", b"HTTP/1.0")
    yield "HTTP/9.9", good.replace(b"HTTP/1.1", b"HTTP/9.9")
    yield "POST", good.replace(b"GET", b"POST")
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "a protocol of garbage", good.replace(b"spectate.v1", b"\xff, ,,\x01")
    yield "many protocols", good.replace(b"spectate.v1", b"a," * 3_000 + b"a")
    yield "a query of garbage", good.replace(b"GET / ", b"GET /?token=%ff%00&&;= ")
    yield "a path of dots", good.replace(b"GET / ", b"GET /../../ws/%00 ")
    yield "frames before the answer", good + frame(b"{") * 50
    yield "garbage after it", good + b"\xff" * 500


async def fuzz_handshakes(url: str, report: FuzzReport, count: int) -> None:
    gate = asyncio.Semaphore(HANDSHAKES_AT_A_TIME)

    async def lie(data: bytes) -> None:
        dice = new_rng()
        async with gate:
            peer = await Stranger().connect(url)
            # In pieces, as a slow line brings them.
            cut = dice.randint(0, len(data))
            try:
                peer.send_raw(data[:cut])
                await asyncio.sleep(dice.random())
                if not peer.transport.is_closing():
                    peer.send_raw(data[cut:])
                await asyncio.sleep(dice.random())
            finally:
                peer.reset()
        report.handshakes += 1

    every = itertools.cycle(lies(url))
    await asyncio.gather(*(lie(next(every)[1]) for _ in range(count)))


async def settled_rss(server: Server, limit: int, seconds: float) -> int:
    """Wait until the memory is back below a limit; return it in any case."""
    await until(lambda: process.rss_kib(server.pid) <= limit, seconds)
    return process.rss_kib(server.pid)


async def start_canary(server: Server) -> Canary:
    return await Canary(server).__aenter__()


def missed_by(canary: Canary) -> str:
    """Tell which positions each dialect's spectator missed, and what was refused."""
    missed = [
        sorted(set(range(s.numbers[0], canary.published)) - set(s.numbers))
        for s in canary.spectators
    ]
    return f"missed by seed and typed: {missed}, refused: {canary.runner.drain()}"


def run(server: Server, long: bool) -> FuzzReport:
    report = FuzzReport(long)
    url = server.ws_url + "/"
    frames, handshakes = (100_000, 1_000) if long else (2_400, 140)
    start = time.monotonic()
    with Loop() as loop:
        canary = loop.run(start_canary(server))
        # Threads, pools and caches that start once do not count.
        warm = FuzzReport(long)
        fuzz_frames(url, loop, warm, 10_000 if long else 400)
        loop.run(fuzz_handshakes(url, warm, 100 if long else 35))
        report.wrong += warm.wrong
        time.sleep(5 if long else 0.5)
        report.rss_kib["before"] = process.rss_kib(server.pid)
        for part in range(1, 5):
            fuzz_frames(url, loop, report, frames // 4)
            report.rss_kib[f"after part {part}"] = process.rss_kib(server.pid)
        loop.run(fuzz_handshakes(url, report, handshakes))
        limit = report.rss_kib["before"] + BACK
        report.rss_kib["after"] = loop.run(
            settled_rss(server, limit, 60 if long else 5)
        )
        try:
            os.kill(server.pid, 0)
            loop.run(canary.__aexit__(None, None, None))
        except (AssertionError, ProcessLookupError) as error:
            report.wrong.append(f"The canary: {error} {missed_by(canary)}")
    report.seconds = round(time.monotonic() - start, 1)
    return report


async def fuzz(server: Server, long: bool) -> FuzzReport:
    """Send made-up frames and handshakes."""
    return await asyncio.to_thread(run, server, long)


if __name__ == "__main__":
    by_hand(fuzz)
