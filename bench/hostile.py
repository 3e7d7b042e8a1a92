"""Measure what hostile connections cost everybody else on a server with one core.

    python -m bench.hostile                 200 connections for 75 s, uvicorn and Daphne
    python -m bench.hostile --server uvicorn --seconds 20 --connections 50 --json

Attackers guess the PINs of share links and a password, leave connections idle and
bodies unfinished, follow a thousand unknown runners in each message, and export long
tracks. Each sends its next request as soon as it has the answer to the last one, and
connects again when it is closed. Every ten attackers have an address of their own.

Meanwhile others poll `/healthz` and `live.json` at fixed times, phones publish, and
spectators follow them. The latency of a poll counts from the time when it was due. The
server runs on core 0, and all clients run on core 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import uvloop
from django.contrib.auth.hashers import make_password
from django.utils import timezone

from bench import process
from tests.factories.people import make_link, make_phones, make_runner, make_user
from tests.faults.peer import SUBPROTOCOLS, Peer, until
from tests.faults.phones import Phone, all_acked, carried
from tests.faults.randomness import use_seed
from tests.faults.spectators import Spectator, differences, watching
from tests.faults.stores import not_as_acked, stored_in, tracebacks
from tests.races.field import make_entry, make_race
from tests.servers import KINDS, Kind, Server
from tests.websocket import Refused

from runners.models import Position, Race, ShareLink  # isort: skip

# What the documentation promises to others during the attack.
P99_AIM_MS = 250.0
# Bound of the memory that the attack may cost, at any time, on any machine.
MAX_GROWTH_MIB = 256
# Longest wait for a response, for acks and for spectators.
PATIENCE_S = 120.0
# How long attackers may wait for their last answers: 40 sign-ins wait for 40 hashes.
LAST_ANSWERS_S = 10.0
CONNECTIONS_PER_ADDRESS = 10
PIN, PASSWORD = "473829", "correct horse battery"  # noqa: S105
LINKS = 20
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


@dataclass(frozen=True)
class Scale:
    connections: int = 200
    seconds: float = 75.0
    calm_s: float = 10.0  # before the attack
    phones: int = 20  # each sends one fix per second
    spectators: int = 20
    tracks: int = 2  # exported by attackers
    track_points: int = 20_000


SHORT = Scale(30, 3.0, 1.0, 4, 4, 2, 500)


@dataclass
class Latency:
    """Responses to the polls of one page, in milliseconds from when each was due."""

    requests: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    # Responses other than 200, and connections that failed.
    failures: dict[str, int]


@dataclass
class Report:
    """One run; memory in MiB, `seconds` of the attack."""

    server: str
    connections: int
    seconds: float
    # By page.
    calm: dict[str, Latency] = field(default_factory=dict)
    attacked: dict[str, Latency] = field(default_factory=dict)
    made: int = 0
    acked: int = 0
    stored: int = 0
    ack_p99_ms: float = 0.0
    # Differences between what spectators have and the database.
    missing: list[str] = field(default_factory=list)
    rss_before_mib: float = 0.0
    rss_peak_mib: float = 0.0
    rss_after_mib: float = 0.0
    server_core: float = 0.0
    # Answers to the attackers by kind of attack: "404 share.pin".
    answers: dict[str, dict[str, int]] = field(default_factory=dict)
    # How long unfinished and idle connections stayed open, at most.
    open_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Return what must not happen on any machine."""
        faults = self.wrong + self.missing
        if not self.made == self.acked == self.stored:
            faults.append(f"{self.made} made, {self.acked} acked, {self.stored} stored")
        for path, latency in self.attacked.items():
            if latency.failures or not latency.requests:
                faults.append(f"{path} was refused: {latency.failures}")
        for kind, answers in self.answers.items():
            if unknown := answers.keys() - EXPECTED[kind] - {"503"}:
                faults.append(f"{kind}: {', '.join(sorted(unknown))}")
            if not answers and kind != "stalls":
                faults.append(f"{kind}: no answer")
        growth = self.rss_peak_mib - self.rss_before_mib
        if growth > MAX_GROWTH_MIB:
            faults.append(f"the server's memory grew by {growth:.0f} MiB")
        return faults

    def late(self) -> list[str]:
        """Return the pages that miss the aim, which depends on the machine."""
        return [
            f"{path}: p99 {latency.p99_ms} ms instead of {P99_AIM_MS:.0f}"
            for path, latency in self.attacked.items()
            if latency.p99_ms > P99_AIM_MS
        ]


# -- the database


@dataclass
class Scene:
    """Tokens of phones by code, secrets of links, and codes with long tracks."""

    tokens: dict[str, str]
    links: list[str]
    tracks: list[str]
    # The publishing token of an attacker.
    insider: str


def make_scene(scale: Scale) -> Scene:
    race = make_race(visibility=Race.Visibility.LINK)
    make_entry(race, "bob", "1", pace=0.3)
    make_user("victim", PASSWORD)
    links = [make_link(race=race)[1] for _ in range(LINKS)]
    # Hashed once, as 20 hashes take seconds.
    ShareLink.objects.update(pin=make_password(PIN))
    return Scene(
        tokens=make_phones(scale.phones),
        links=links,
        tracks=[
            _make_track(f"far{n}", scale.track_points) for n in range(scale.tracks)
        ],
        insider=make_phones(1, "insider")["insider0"],
    )


def _make_track(code: str, points: int) -> str:
    """Make a public runner with one position every three seconds until now."""
    runner, now = make_runner(code), timezone.now()
    Position.objects.bulk_create(
        Position(
            runner=runner,
            recorded_at=now - timedelta(seconds=3 * n),
            stored_at=now,
            lat=48 + n * 1e-5,
            lng=2.0,
            altitude=100.0,
            source="x",
        )
        for n in range(1, points + 1)
    )
    return code


# -- requests


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


async def poll(server: Server, path: str, period: float, seconds: float) -> Latency:
    """Request a page at fixed times, even if earlier requests are not answered."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    failures: Counter[str] = Counter()

    async def once(due: float) -> None:
        status, body = 0, b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                status, body = await send(server, f"GET {path} HTTP/1.1")
        latencies.append((loop.time() - due) * 1000)
        if status != 200:
            failures[outcome(status, body)] += 1

    start = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(round(seconds / period)):
            due = start + number * period
            await asyncio.sleep(max(0.0, due - loop.time()))
            group.create_task(once(due))
    latencies.sort()
    p50, p99, most = (
        round(latencies[min(len(latencies) * share // 100, len(latencies) - 1)], 1)
        for share in (50, 99, 100)
    )
    return Latency(len(latencies), p50, p99, most, dict(failures))


async def poll_all(server: Server, seconds: float) -> dict[str, Latency]:
    pages = {"/healthz": 0.1, "/live.json?public=1": 0.25}
    found = await asyncio.gather(
        *(poll(server, path, period, seconds) for path, period in pages.items())
    )
    return dict(zip(pages, found, strict=True))


# -- the attackers


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
        codes = [f"x{self.number}-{n}" for n in range(1_000)]
        while not self.stopped:
            socket = _Flood(self.answers)
            try:
                url, dialect = self.server.ws_url + "/", SUBPROTOCOLS["v1"]
                await socket.open(url, dialect, source=self.address)
                while not (socket.closed.done() or self.stopped):
                    socket.pong = asyncio.get_running_loop().create_future()
                    socket.send({"type": "follow", "runners": codes})
                    socket.send({"type": "ping"})
                    await socket.answer()
                if socket.closed.done():
                    self.answers[f"closed {socket.closed.result()}"] += 1
            except (OSError, Refused, TimeoutError) as error:
                self.answers[str(error)] += 1
                await asyncio.sleep(0.05)
            finally:
                if hasattr(socket, "transport"):
                    socket.reset()


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
    "PINs": (Attacker.guess_pins, 6),
    "passwords": (Attacker.guess_passwords, 4),
    "stalls": (Attacker.stall, 4),
    "commands": (Attacker.flood, 3),
    "exports": (Attacker.export, 3),
}
# What docs/protocol.md and docs/deploying.md let attackers expect, besides a 503 from a
# process that has too many connections.
EXPECTED = {
    # A page without JSON has no code.
    "PINs": {"404", "404 share.pin", "429 rate.limited"},
    # 200 is the form with an error.
    "passwords": {"200", "429"},
    "stalls": {"closed", "408"},
    "commands": {"runner.unknown", "rate.limited", "closed 4429", "closed 1013"},
    "exports": {"200"},
}


@contextlib.asynccontextmanager
async def attacked(report: Report, server: Server, scene: Scene) -> AsyncIterator[None]:
    """Attack the server in the background, until each kind has got an answer."""
    kinds = [kind for kind, (_, share) in ATTACKS.items() for _ in range(share)]
    attackers = [
        (kinds[n % len(kinds)], Attacker(n, server, scene))
        for n in range(report.connections)
    ]

    def answers(kind: str) -> Counter[str]:
        return sum((a.answers for k, a in attackers if k == kind), Counter())

    tasks = [asyncio.create_task(ATTACKS[k][0](each)) for k, each in attackers]
    try:
        yield
        # A stalled connection may be open for longer than a short attack.
        waiting = {*kinds} - {"stalls"}
        await until(lambda: all(map(answers, waiting)), PATIENCE_S)
    finally:
        # Each ends with the answer that it waits for, if it comes soon.
        for _, attacker in attackers:
            attacker.stopped = True
        _, late = await asyncio.wait(tasks, timeout=LAST_ANSWERS_S)
        for task in late:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        report.wrong += [
            f"An attacker failed: {end!r}" for end in ends if isinstance(end, Exception)
        ]
        report.answers = {kind: dict(answers(kind).most_common()) for kind in ATTACKS}
        report.open_s = round(max(a.open_s for _, a in attackers), 1)


# -- the run


@contextlib.asynccontextmanager
async def memory_watched(report: Report, pid: int) -> AsyncIterator[None]:
    """Record the greatest resident memory meanwhile."""

    async def watch() -> None:
        while True:
            report.rss_peak_mib = max(report.rss_peak_mib, rss_mib(pid))
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def rss_mib(pid: int) -> float:
    return round(process.rss_kib(pid) / 1024, 1)


async def measure(server: Server, scale: Scale) -> Report:
    """Poll the server before and during an attack, and compare what was stored."""
    report = Report(server.kind, scale.connections, scale.seconds)
    scene = await server.adatabase(make_scene, scale)
    url, pid, codes = server.ws_url + "/", server.pid, list(scene.tokens)
    phones = [Phone(url, c, token, rate=1.0) for c, token in scene.tokens.items()]
    spectators = [
        Spectator(url, server.url, {"runners": codes}, codes)
        for _ in range(scale.spectators)
    ]
    async with watching(spectators):
        async with carried(phones):
            await until(lambda: all(phone.acked for phone in phones), PATIENCE_S)
            report.calm = await poll_all(server, scale.calm_s)
            report.rss_before_mib, cpu = rss_mib(pid), process.cpu_seconds(pid)
            began = time.monotonic()
            async with memory_watched(report, pid), attacked(report, server, scene):
                report.attacked = await poll_all(server, scale.seconds)
            used, seconds = process.cpu_seconds(pid) - cpu, time.monotonic() - began
            report.server_core = round(used / seconds, 2)
            await all_acked(phones, PATIENCE_S)
        stored = await asyncio.to_thread(stored_in, server.env["DATABASE_URL"])
        tracks = {code: stored.tracks.get(code, {}) for code in codes}
        for spectator in spectators:
            spectator.fetch_merged()
        await until(
            lambda: not any(differences(each, tracks) for each in spectators),
            PATIENCE_S,
        )
    report.rss_after_mib = rss_mib(pid)
    report.made = sum(len(phone.made) for phone in phones)
    report.acked = sum(len(phone.acked) for phone in phones)
    report.stored = sum(map(len, tracks.values()))
    ages = sorted(age for phone in phones for age in phone.ack_ages)
    report.ack_p99_ms = round(ages[len(ages) * 99 // 100] * 1000, 1)
    report.missing = [each for s in spectators for each in differences(s, tracks)]
    report.wrong += not_as_acked(phones, stored) + tracebacks(server)
    return report


def lines_of(report: Report) -> str:
    """Describe a run in text."""
    lines = [
        f"{report.server}: {report.connections} hostile connections for "
        f"{report.seconds:.0f} s, {report.server_core} of a core"
    ]
    for path, latency in report.attacked.items():
        calm = report.calm[path]
        lines.append(
            f"  {path}: p50 {calm.p50_ms} to {latency.p50_ms} ms, p99 {calm.p99_ms} to "
            f"{latency.p99_ms} ms, {latency.requests} requests"
        )
    lines += [
        f"  fixes: {report.made} made, {report.acked} acked, {report.stored} stored, "
        f"ack p99 {report.ack_p99_ms} ms",
        f"  spectators with missing positions: {len(report.missing)}",
        f"  RSS: {report.rss_before_mib}, peak {report.rss_peak_mib}, then "
        f"{report.rss_after_mib} MiB",
        f"  stalled connections were open for {report.open_s} s at most",
    ]
    for kind, answers in report.answers.items():
        found = ", ".join(f"{count} x {answer}" for answer, count in answers.items())
        lines.append(f"  {kind}: {found}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hostile")
    parser.add_argument("--server", choices=KINDS, help="only this one")
    parser.add_argument("--seconds", type=float, default=Scale.seconds)
    parser.add_argument("--connections", type=int, default=Scale.connections)
    parser.add_argument("--seed", type=int, help="the one that a run has printed")
    parser.add_argument("--json", action="store_true", help="one line of JSON each")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    scale = Scale(options.connections, options.seconds)
    failed = False
    for kind in [options.server] if options.server else KINDS:
        report, load = run(kind, scale, options.seed)
        line = asdict(report) | {"load_average": load}
        text = orjson.dumps(line).decode() if options.json else lines_of(report)
        print(text, flush=True)
        print("\n".join(report.faults() + report.late()), file=sys.stderr, flush=True)
        failed |= bool(report.faults())
    sys.exit(failed)


def run(kind: Kind, scale: Scale, seed: int | None) -> tuple[Report, float]:
    """Run once, the server on core 0 and everything else on core 1."""
    with contextlib.redirect_stdout(sys.stderr):
        use_seed(seed)
    load = os.getloadavg()[0]
    os.sched_setaffinity(0, {0})
    with Server(kind, SPECTATE_LAG_LIMIT="1000", SPECTATE_FIRST_MESSAGE="10") as server:
        os.sched_setaffinity(0, {1})
        report = uvloop.run(measure(server, scale))
    return report, round(load, 2)


if __name__ == "__main__":
    main()
