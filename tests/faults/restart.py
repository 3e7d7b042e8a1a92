"""Restart servers while spectators watch: no acked fix is lost, no position is missed.

`workers`: two processes behind Redis and PostgreSQL that SIGHUP restarts in turn.
`single`: one process on SQLite that is stopped and started again. The long form has
5,000 sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import resource
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from os import kill
from typing import Literal

from bench.process import family
from tests.background import in_background
from tests.factories.people import make_phones
from tests.faults.by_hand import by_hand
from tests.faults.comparison import Comparison
from tests.faults.metrics import metrics
from tests.faults.peer import until
from tests.faults.phones import Phone, all_acked
from tests.faults.randomness import rng
from tests.faults.spectators import Spectator, caught_up
from tests.faults.stores import (
    LOAD,
    started,
    stored_in,
    tracebacks,
)
from tests.servers import Server
from tests.services import Redis, shared_postgres
from tests.waiting import PATIENCE_S

Setup = Literal["workers", "single"]

# Longest time from the request to stop until the process has ended.
EXIT_TIMEOUT_S = 10.0
# Shorter than the time between two fixes of a runner, so that few positions are merged
# away. Clients would have to fetch each of these.
TICK_MS = 500


@dataclass(frozen=True)
class Scale:
    spectators: int
    follows: int
    runners: int
    rate: float  # fixes per second and runner
    seconds: float  # before the restart, and again after it
    connects_per_s: float  # at the start
    timeout_s: float


LONG = Scale(4_900, 4, 100, 0.5, 10, 250, 240)
SHORT = Scale(60, 4, 10, 1.0, 1, 500, PATIENCE_S)


@dataclass
class RestartReport(Comparison):
    setup: str
    sockets: int
    # Time from the signal until all workers are replaced, or the process has ended.
    restart_seconds: float = 0.0
    # Time from the signal until all spectators have a snapshot again.
    all_back_seconds: float = 0.0
    # Time without new positions per spectator, from the close to the snapshot.
    away_p50: float = 0.0
    away_p99: float = 0.0
    away_most: float = 0.0
    closes: dict[str, int] = field(default_factory=dict)
    # Statuses of /readyz during the shutdown.
    ready: dict[str, int] = field(default_factory=dict)
    refused: float = 0.0
    # Spectators who have not fetched all positions merged away in the end.
    unfetched: int = 0

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.closes.keys() != {"1012"}:
            faults.append(f"closed with {self.closes}")
        if self.setup == "single" and self.restart_seconds > EXIT_TIMEOUT_S:
            faults.append(f"it took {self.restart_seconds} s to end")
        return faults


async def restart(setup: Setup, long: bool) -> RestartReport:
    """Restart under load and compare all spectators with the database."""
    scale = LONG if long else SHORT
    with contextlib.ExitStack() as stack:
        if setup == "single":
            server = stack.enter_context(started("sqlite"))
        else:
            redis = stack.enter_context(Redis())
            env = LOAD | {
                "DATABASE_URL": shared_postgres().new_database(),
                "REDIS_URL": redis.url,
                "WORKERS": "2",
            }
            server = stack.enter_context(Server("uvicorn", **env))
        return await _restart(setup, server, scale)


async def _restart(setup: str, server: Server, scale: Scale) -> RestartReport:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    tokens = await server.adatabase(make_phones, scale.runners)
    codes = list(tokens)
    url = server.ws_url + "/"
    phones = [
        Phone(url, code, token, rate=scale.rate) for code, token in tokens.items()
    ]
    spectators = [
        _spectator(server, rng.sample(codes, scale.follows))
        for _ in range(scale.spectators)
    ]
    report = RestartReport(setup, len(phones) + len(spectators))
    async with contextlib.AsyncExitStack() as stack:
        for start in range(0, len(spectators), 50):
            part = spectators[start : start + 50]
            await stack.enter_async_context(in_background(*map(Spectator.run, part)))
            await asyncio.sleep(50 / scale.connects_per_s)
        if not await until(lambda: all(s.line for s in spectators), scale.timeout_s):
            report.wrong.append("not all spectators could connect")
        async with in_background(*map(Phone.run, phones)):
            await until(lambda: all(phone.acked for phone in phones), scale.timeout_s)
            await asyncio.sleep(scale.seconds)
            connects = [spectator.connects for spectator in spectators]
            requested_at = time.monotonic()
            restart_server = _restart_workers if setup == "workers" else _stop_and_start
            await restart_server(server, report, scale.timeout_s)
            if not await until(
                lambda: all(
                    spectator.connects > before and spectator.away_since is None
                    for spectator, before in zip(spectators, connects, strict=True)
                ),
                scale.timeout_s,
            ):
                report.wrong.append("not all spectators came back")
            report.all_back_seconds = round(time.monotonic() - requested_at, 1)
            await asyncio.sleep(scale.seconds)
            await all_acked(phones, scale.timeout_s)
        stored = await asyncio.to_thread(stored_in, server.env["DATABASE_URL"])
        await caught_up(spectators, stored.tracks, scale.timeout_s)
    values = await asyncio.to_thread(metrics, server)
    report.refused = sum(
        value for name, value in values.items() if "sockets_refused" in name
    )
    report.compare(phones, spectators, stored)
    _count(report, spectators)
    server.stop()
    report.wrong += tracebacks(server)
    return report


def _spectator(server: Server, codes: list[str]) -> Spectator:
    follow = {"runners": codes, "tick": TICK_MS}
    return Spectator(server.ws_url + "/", server.url, follow, codes)


async def _restart_workers(
    server: Server, report: RestartReport, timeout_s: float
) -> None:
    before = set(family(server.pid)) - {server.pid}
    requested_at = time.monotonic()
    kill(server.pid, signal.SIGHUP)
    if not await until(lambda: before.isdisjoint(family(server.pid)), timeout_s):
        report.wrong.append("not all workers were replaced")
    report.restart_seconds = round(time.monotonic() - requested_at, 1)


async def _stop_and_start(
    server: Server, report: RestartReport, timeout_s: float
) -> None:
    requested_at = time.monotonic()
    kill(server.pid, signal.SIGTERM)
    statuses: Counter[str] = Counter()
    ended = asyncio.create_task(asyncio.to_thread(server.wait))
    while not ended.done():
        statuses[str(await asyncio.to_thread(_readiness, server))] += 1
        await asyncio.sleep(0.1)
    report.ready = dict(statuses)
    report.restart_seconds = round(time.monotonic() - requested_at, 1)
    await asyncio.to_thread(server.start)


def _readiness(server: Server) -> int:
    """Return the status of /readyz, or 0 without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=1)
    with (
        contextlib.closing(connection),
        contextlib.suppress(OSError, http.client.HTTPException),
    ):
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    return 0


def _count(report: RestartReport, spectators: list[Spectator]) -> None:
    gaps = sorted(gap for spectator in spectators for gap in spectator.gaps) or [0.0]
    report.away_p50 = round(gaps[len(gaps) // 2], 1)
    report.away_p99 = round(gaps[int((len(gaps) - 1) * 0.99)], 1)
    report.away_most = round(gaps[-1], 1)
    closes: Counter[int] = Counter()
    for spectator in spectators:
        closes += spectator.closes
        report.unfetched += bool(spectator.to_fetch)
    report.closes = {str(code): count for code, count in closes.items()}


if __name__ == "__main__":
    by_hand(restart, ("workers", "single"))
