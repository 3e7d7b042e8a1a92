"""Hostile connections, each of one kind, and what they are answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import orjson

from bench.hostile.scene import LINKS, Scene
from tests.faults.peer import SUBPROTOCOLS, Peer
from tests.servers import Kind, Server
from tests.websocket import PING, Refused, frame

CONNECTIONS_PER_ADDRESS = 10
# Paths that open a share link, with and without data behind it.
PIN_PATHS = (
    "/live.json",
    "/runners/bob/track.json",
    "/runners/bob/track.gpx",
    "/races/ten/standings.json",
    "/races/ten/standings.csv",
    "/races/ten/eta.json?at=5000",
    "/races/ten/replay.json?from=0",
)


async def send(
    server: Server, head: str, body: bytes = b"", address: str = "127.0.0.1"
) -> tuple[int, bytes]:
    """Send a request on a new connection. Return its status, 0 if it was closed, and
    the body.
    """
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, local_addr=(address, 0)
        )
        try:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            writer.write(
                f"{head}\r\nHost: 127.0.0.1:{server.port}\r\n{length}"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            answer = await reader.read()
        finally:
            writer.transport.abort()
        if answer:
            start, _, rest = answer.partition(b"\r\n\r\n")
            return int(start.split(b" ", 2)[1]), rest
    return 0, b""


def outcome(status: int, body: bytes) -> str:
    """Return the status, with the code of an error in JSON."""
    if body.startswith(b"{") and status >= 400:
        return f"{status} {orjson.loads(body).get('code', '')}".strip()
    return str(status) if status else "closed"


class Attacker:
    """One hostile connection at a time, and what it was answered."""

    def __init__(self, number: int, server: Server, scene: Scene) -> None:
        self.number = number
        self.server = server
        self.scene = scene
        self.address = f"127.66.0.{1 + number // CONNECTIONS_PER_ADDRESS}"
        self.answers: Counter[str] = Counter()
        self.open_s = 0.0
        self.stopped = False

    async def request(self, head: str, body: bytes = b"") -> None:
        status, answer = await send(self.server, head, body, self.address)
        self.answers[outcome(status, answer)] += 1
        if not status:
            # The listener is full.
            await asyncio.sleep(0.05)

    def turns(self) -> Iterator[int]:
        """Yield numbers until the attack stops."""
        return itertools.takewhile(
            lambda _: not self.stopped, itertools.count(self.number)
        )

    async def guess_pins(self) -> None:
        for guess in self.turns():
            link = self.scene.links[guess % LINKS]
            await self.request(
                f"GET {PIN_PATHS[guess % len(PIN_PATHS)]} HTTP/1.1\r\n"
                f"Spectate-Share: {link}\r\nSpectate-Share-Pin: {guess % 10**6:06}"
            )

    async def guess_passwords(self) -> None:
        csrf = "a" * 32
        for guess in self.turns():
            name = "victim" if guess % 2 else f"nobody{self.number}"
            form = f"csrfmiddlewaretoken={csrf}&username={name}&password=guess{guess}"
            await self.request(
                f"POST /sign-in/ HTTP/1.1\r\nCookie: csrftoken={csrf}\r\n"
                "Content-Type: application/x-www-form-urlencoded",
                form.encode(),
            )

    async def export(self) -> None:
        for number in self.turns():
            code = self.scene.tracks[number % len(self.scene.tracks)]
            await self.request(f"GET /runners/{code}/track.gpx HTTP/1.1")

    async def stall(self) -> None:
        """Leave a connection idle, or send a body one byte per second."""
        path = (f"/intake/generic/{self.scene.insider}/", "/sign-in/")[self.number % 2]
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"
            "Content-Type: application/json\r\n\r\n"
        )
        while not self.stopped:
            began = time.monotonic()
            try:
                await self._stall(head.encode() if self.number % 3 else b"")
            except OSError:
                self.answers["closed"] += 1
            finally:
                self.open_s = max(self.open_s, time.monotonic() - began)

    async def _stall(self, head: bytes) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.server.port, local_addr=(self.address, 0)
        )
        try:
            writer.write(head)
            reading = asyncio.create_task(reader.read())
            while not (self.stopped or (await asyncio.wait([reading], timeout=1))[0]):
                writer.write(b" " if head else b"")
            if reading.done():
                self.answers[reading.result()[9:12].decode() or "closed"] += 1
        finally:
            reading.cancel()
            writer.transport.abort()

    async def flood(self) -> None:
        """Follow unknown runners as fast as commands are read."""
        codes = [f"x{self.number}-{n}" for n in range(1_000)]

        async def follow(socket: _Flood) -> None:
            socket.pong = asyncio.get_running_loop().create_future()
            socket.send({"type": "follow", "runners": codes})
            socket.send({"type": "ping"})
            await socket.answer()

        await self._flood_sockets(follow)

    async def flood_frames(self) -> None:
        """Send pings, which reach no session, as fast as they are read."""
        pings = frame(b"", PING) * 10_000

        async def send_pings(socket: _Flood) -> None:
            # The transport has no end of its buffer.
            if socket.transport.get_write_buffer_size() < len(pings):
                socket.send_raw(pings)
            await asyncio.sleep(0.01)

        await self._flood_sockets(send_pings)

    async def _flood_sockets(self, turn: Callable[[_Flood], Awaitable[None]]) -> None:
        """Take turns on one socket after the other, and count how each ends."""
        url, dialect = self.server.ws_url + "/", SUBPROTOCOLS["v1"]
        while not self.stopped:
            socket = _Flood(self.answers)
            try:
                await socket.open(url, dialect, source=self.address)
                while not (socket.closed.done() or self.stopped):
                    await turn(socket)
                if socket.closed.done():
                    self.answers[f"closed {socket.closed.result()}"] += 1
            except (OSError, Refused, TimeoutError) as error:
                self.answers[str(error)] += 1
                await asyncio.sleep(0.05)
            finally:
                if hasattr(socket, "transport"):
                    socket.reset()

    async def pipeline(self) -> None:
        """Send many requests at once without reading the responses."""
        request = f"GET /x HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}"
        for _ in self.turns():
            await self.request("\r\n\r\n".join([request] * 2_000))


class _Flood(Peer):
    """Counts errors. The reply to a ping resolves `pong`."""

    pong: asyncio.Future[None]

    def __init__(self, answers: Counter[str]) -> None:
        super().__init__()
        self.answers = answers

    async def answer(self) -> None:
        """Wait for the reply to a ping, or for the end of the connection."""
        ends: list[asyncio.Future[Any]] = [self.pong, self.closed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    def received(self, text: bytes) -> None:
        message = orjson.loads(text)
        if message["type"] == "error":
            self.answers[message["code"]] += 1
        elif message["type"] == "pong" and not self.pong.done():
            self.pong.set_result(None)


Attack = Callable[[Attacker], Coroutine[None, None, None]]
# Kinds of attack, with the number of their connections in 20.
ATTACKS: dict[str, tuple[Attack, int]] = {
    "PINs": (Attacker.guess_pins, 4),
    "passwords": (Attacker.guess_passwords, 4),
    "stalls": (Attacker.stall, 4),
    "commands": (Attacker.flood, 3),
    "exports": (Attacker.export, 3),
    "frames": (Attacker.flood_frames, 1),
    "pipelines": (Attacker.pipeline, 1),
}
# What docs/protocol.md and docs/deploying.md let attackers expect, besides a 503 from a
# process that has too many connections.
UVICORN_ANSWERS = {
    # A page without JSON has no code.
    "PINs": {"404", "404 share.pin", "429 rate.limited"},
    # 200 is the form with an error.
    "passwords": {"200", "429"},
    "stalls": {"closed", "408"},
    "commands": {"runner.unknown", "rate.limited", "closed 4429", "closed 1013"},
    "exports": {"200"},
    "frames": {"closed 4429", "closed 1013"},
    # The rest of a pipeline is not read, so that the end of the connection may be a
    # reset, which discards the 400.
    "pipelines": {"400", "closed"},
}
# Daphne drops floods of frames without a close code. It does not limit pipelines.
DAPHNE_ANSWERS = UVICORN_ANSWERS | {"frames": {"closed 1006"}}
del DAPHNE_ANSWERS["pipelines"]
# The kinds of attack on each server, and what they may be answered.
EXPECTED: dict[Kind, dict[str, set[str]]] = {
    "uvicorn": UVICORN_ANSWERS,
    "daphne": DAPHNE_ANSWERS,
}
