"""Publish at a steady rate: all fixes are stored, and the live flow is not delayed.

The long form is 2,000 fixes per second for five minutes. Resident memory does not grow,
the 99th percentile of acks is below 500 ms, and that of the fan-out is at most 20 % or
15 ms above that of the same server without its recorder (`unrecorded.py`).
"""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass, field

import orjson

from bench import process
from tests.background import in_background
from tests.factories.people import make_phones
from tests.faults.by_hand import by_hand
from tests.faults.comparison import PhonesReport
from tests.faults.metrics import metrics
from tests.faults.peer import SUBPROTOCOLS, Peer, until
from tests.faults.phones import Phone, Place, all_acked
from tests.faults.stores import (
    STORES,
    Store,
    started,
    stored_in,
    tracebacks,
)

SPECTATORS = 20
# Runners that each spectator follows.
FOLLOWS = 10
TIMEOUT_S = 60.0
# Limits of the long form.
ACK_MS = 500
P99_SHARE = 0.2
P99_MS = 15.0
GROWTH_KIB = 8 * 1024


@dataclass(frozen=True)
class Scale:
    phones: int
    rate: float  # fixes per second and phone, one per message
    seconds: float
    compare_s: float  # without the recorder


LONG = Scale(200, 10, 300, 45)
SHORT = Scale(50, 10, 5, 0)


@dataclass
class SustainedReport(PhonesReport):
    store: str
    long: bool
    fixes_per_s: float
    seconds: float
    ack_p50_ms: float = 0.0
    ack_p99_ms: float = 0.0
    fanout_p50_ms: float = 0.0
    fanout_p99_ms: float = 0.0
    # Measured before, in the same way, with a recorder that drops. None: not measured.
    fanout_p99_ms_unrecorded: float | None = None
    server_cores: float = 0.0
    load_cores: float = 0.0
    # Requests for /metrics that took more than 10 s.
    unanswered: int = 0
    commit_ms: list[float] = field(default_factory=list)
    waiting_most: int = 0
    # The server's resident memory at ten moments.
    rss_kib: list[int] = field(default_factory=list)

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.long:
            # The first readings do not count, because a new server still grows.
            growth = self.rss_kib[-1] - self.rss_kib[2]
            if growth > GROWTH_KIB:
                faults.append(f"memory grew by {growth} KiB")
            if self.ack_p99_ms > ACK_MS:
                faults.append(f"the p99 of acks is {self.ack_p99_ms} ms")
            before = self.fanout_p99_ms_unrecorded or 0.0
            allowed = max(before * P99_SHARE, P99_MS)
            if self.fanout_p99_ms - before > allowed:
                faults.append("recording delays the fan-out")
        return faults


class Clock:
    """Encodes the time when a position was due as its longitude, in steps of 0.1 ms."""

    def __init__(self) -> None:
        self.start = asyncio.get_running_loop().time()

    def place(self, due: float) -> Place:
        return 48.5, round(1 + (due - self.start) / 10, 5)

    def age(self, lng: float) -> float:
        return asyncio.get_running_loop().time() - self.start - (lng - 1) * 10


class Watcher(Peer):
    """Follows runners and records the age of each position received, in seconds."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.ages: list[float] = []

    async def follow(self, url: str, codes: list[str]) -> None:
        await self.open(url, SUBPROTOCOLS["v1"])
        self.send({"type": "follow", "runners": codes, "tick": 0})

    def received(self, text: bytes) -> None:
        message = orjson.loads(text)
        if message["type"] == "positions":
            self.ages += [self.clock.age(row[3]) for row in message["fixes"]]


def percentile(values: list[float], share: float) -> float:
    """Return a percentile of durations in seconds, converted to milliseconds."""
    ordered = sorted(values)
    return round(ordered[int((len(ordered) - 1) * share)] * 1000, 1)


async def load(
    store: Store, scale: Scale, report: SustainedReport, seconds: float, **env: str
) -> None:
    """Publish to a new server for some seconds and fill the report."""
    with started(store, **env) as server:
        tokens = await server.adatabase(make_phones, scale.phones)
        clock = Clock()
        url = server.ws_url + "/"
        codes = list(tokens)
        phones = [
            Phone(url, code, token, rate=scale.rate, place=clock.place)
            for code, token in tokens.items()
        ]
        watchers = [Watcher(clock) for _ in range(SPECTATORS)]
        for number, watcher in enumerate(watchers):
            following = [
                codes[(number * FOLLOWS + k) % len(codes)] for k in range(FOLLOWS)
            ]
            await watcher.follow(url, following)
        # Delays by garbage collection in this process are not the server's.
        gc.collect()
        gc.freeze()
        async with in_background(*map(Phone.run, phones)):
            # Fixes made before all clients are connected arrive in a burst.
            if not await until(lambda: _steady(phones, scale), TIMEOUT_S):
                report.wrong.append("the stream did not become steady")
            await asyncio.sleep(min(3, seconds / 4))
            for watcher in watchers:
                watcher.ages.clear()
            for phone in phones:
                phone.ack_ages.clear()
            start, cpu = time.monotonic(), process.cpu_seconds(server.pid)
            own = time.process_time()
            for _ in range(10):
                await asyncio.sleep(seconds / 10)
                report.rss_kib.append(process.rss_kib(server.pid))
                try:
                    values = await asyncio.to_thread(metrics, server)
                except OSError:
                    report.unanswered += 1
                    continue
                waiting = int(values["spectate_recorder_waiting"])
                report.waiting_most = max(report.waiting_most, waiting)
                report.commit_ms.append(round(values["spectate_commit_seconds"] * 1000))
            used = process.cpu_seconds(server.pid) - cpu
            took = time.monotonic() - start
            report.server_cores = round(used / took, 2)
            report.load_cores = round((time.process_time() - own) / took, 2)
            ages = [age for watcher in watchers for age in watcher.ages]
            acks = [age for phone in phones for age in phone.ack_ages]
            if not await all_acked(phones, TIMEOUT_S):
                report.wrong.append("not everything was acked")
        report.fanout_p50_ms = percentile(ages, 0.5)
        report.fanout_p99_ms = percentile(ages, 0.99)
        report.ack_p50_ms, report.ack_p99_ms = (
            percentile(acks, 0.5),
            percentile(acks, 0.99),
        )
        for watcher in watchers:
            watcher.reset()
        server.stop()
        stored = await asyncio.to_thread(stored_in, server.env["DATABASE_URL"])
        report.compare_phones(phones, stored)
        report.wrong += tracebacks(server)


def _steady(phones: list[Phone], scale: Scale) -> bool:
    waiting = sum(len(phone.made) - len(phone.acked) for phone in phones)
    return all(phone.acked for phone in phones) and waiting < scale.phones * scale.rate


async def sustained(store: Store, long: bool) -> SustainedReport:
    """Publish at a steady rate. The long form first measures without the recorder."""
    scale = LONG if long else SHORT
    rate = scale.phones * scale.rate
    report = SustainedReport(store, long, rate, scale.seconds)
    if scale.compare_s:
        other = SustainedReport(store, long, rate, scale.compare_s)
        settings = "tests.faults.unrecorded_settings"
        await load(store, scale, other, other.seconds, DJANGO_SETTINGS_MODULE=settings)
        if other.stored:
            report.wrong.append("the comparison recorded something")
        report.fanout_p99_ms_unrecorded = other.fanout_p99_ms
    await load(store, scale, report, scale.seconds)
    return report


if __name__ == "__main__":
    by_hand(sustained, STORES)
