"""Polls, phones and spectators during an attack, and the report of a run."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from bench import process
from bench.hostile.attackers import ATTACKS, EXPECTED, Attacker, outcome, send
from bench.hostile.scene import Scale, Scene, make_scene
from tests.background import in_background
from tests.faults.peer import until
from tests.faults.phones import Phone, all_acked
from tests.faults.spectators import Spectator, caught_up, differences
from tests.faults.stores import acked, not_as_acked, stored_in, tracebacks
from tests.servers import Kind, Server

# What the documentation promises to others during the attack.
P99_AIM_MS = 250.0
# Bound of the memory that the attack may cost, at any time, on any machine.
MAX_GROWTH_MIB = 256
# Longest wait for a response, for acks and for spectators.
PATIENCE_S = 120.0
# How long attackers may wait for their last answers: 40 sign-ins wait for 40 hashes.
LAST_ANSWERS_S = 10.0


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

    server: Kind
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
            if unknown := answers.keys() - EXPECTED[self.server][kind] - {"503"}:
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


@contextlib.asynccontextmanager
async def attacked(report: Report, server: Server, scene: Scene) -> AsyncIterator[None]:
    """Attack the server in the background, until each kind has got an answer."""
    kinds = [kind for kind in EXPECTED[server.kind] for _ in range(ATTACKS[kind][1])]
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
        report.answers = {kind: dict(answers(kind).most_common()) for kind in kinds}
        report.open_s = round(max(a.open_s for _, a in attackers), 1)


@contextlib.asynccontextmanager
async def memory_watched(report: Report, pid: int) -> AsyncIterator[None]:
    """Record the greatest resident memory meanwhile."""

    async def watch() -> None:
        while True:
            report.rss_peak_mib = max(report.rss_peak_mib, rss_mib(pid))
            await asyncio.sleep(0.2)

    async with in_background(watch()):
        yield


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
    async with in_background(*map(Spectator.run, spectators)):
        async with in_background(*map(Phone.run, phones)):
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
        await caught_up(spectators, tracks, PATIENCE_S)
    report.rss_after_mib = rss_mib(pid)
    report.made = sum(len(phone.made) for phone in phones)
    report.acked = acked(phones)
    report.stored = sum(map(len, tracks.values()))
    ages = sorted(age for phone in phones for age in phone.ack_ages)
    report.ack_p99_ms = round(ages[len(ages) * 99 // 100] * 1000, 1)
    report.missing = [each for s in spectators for each in differences(s, tracks)]
    report.wrong += not_as_acked(phones, stored) + tracebacks(server)
    return report
