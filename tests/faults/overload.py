"""Give a server a third of the processor time that its visitors need.

The server is stopped and continued repeatedly, as if other processes used the
processor. Spectators see fewer positions: the server merges them, and no frame has two
of the same runner. Afterwards everything is as before.

The long form has 2,000 spectators and limits that a busy machine may exceed: neither
the age of the positions shown nor memory grows, all spectators get the same share, and
everything is as before within 10 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson

from bench import process
from tests.background import in_background
from tests.factories.people import make_phones
from tests.faults.by_hand import by_hand
from tests.faults.comparison import PhonesReport
from tests.faults.metrics import metrics
from tests.faults.peer import SUBPROTOCOLS, Peer, until
from tests.faults.phones import Phone, all_acked
from tests.faults.stores import (
    STORES,
    Store,
    started,
    stored_in,
    tracebacks,
)
from tests.faults.sustained import Clock, percentile
from tests.waiting import PATIENCE_S
from tests.websocket import Refused

# The server's share of the processor time that it would use.
CPU_SHARE = 1 / 3
# Time between two newcomers.
NEWCOMER_EVERY_S = 0.5
# Runners that each spectator follows.
FOLLOWS = 10
# Share of the usual rate from which the server counts as recovered.
RECOVERED_SHARE = 0.6
# Limits of the long form: the age of positions under overload, and the time to recover.
AGE_LIMIT_S = 10.0
RECOVERY_LIMIT_S = 10.0
# Smallest share of any spectator, relative to the median of its kind.
FAIR_SHARE = 0.5
GROWTH_KIB = 32 * 1024


@dataclass(frozen=True)
class Scale:
    runners: int
    rate: float  # fixes per second and runner
    public: int  # spectators who follow all public runners
    typed: int  # typed spectators who follow `FOLLOWS` runners
    seed: int  # seed spectators who follow `FOLLOWS` runners
    tick_ms: int
    calm_s: float  # before the overload
    overload_s: float
    cycle_s: float  # period, during a part of which the server runs
    sample: int  # one frame in this many is decoded

    @property
    def positions_per_s(self) -> float:
        """Return the positions per second of all spectators if none are merged."""
        followed = self.public * self.runners + (self.typed + self.seed) * FOLLOWS
        return followed * self.rate


LONG = Scale(100, 1.0, 1_400, 400, 200, 250, 15, 60, 0.25, 5)
# A runner has two fixes per cycle, so that there is something to merge.
SHORT = Scale(30, 2.0, 60, 30, 20, 250, 2, 4.5, 1.0, 1)


@dataclass
class Phase:
    """Deliveries to spectators in one period."""

    seconds: float = 0.0
    positions_per_s: float = 0.0
    age_p50_s: float = 0.0
    age_p99_s: float = 0.0
    server_cores: float = 0.0
    rss_kib: int = 0


@dataclass
class OverloadReport(PhonesReport):
    store: str
    long: bool
    spectators: int
    calm: Phase = field(default_factory=Phase)
    # The overload in thirds. Nothing may grow from one to the next.
    overload: list[Phase] = field(default_factory=list)
    recovered: Phase = field(default_factory=Phase)
    # Time until age and rate are as before the overload. None: never.
    recovery_s: float | None = None
    # Positions under overload: the fewest divided by the median, by kind of spectator.
    least_share: dict[str, float] = field(default_factory=dict)
    # In the decoded frames: positions merged away under overload, and positions sent
    # with a newer one of the same runner.
    merged: int = 0
    repeated: int = 0
    loop_lag_s: float = 0.0
    # Newcomers by outcome.
    newcomers: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)

    def has_recovered(self, most: float) -> bool:
        """Return whether age and rate are as before the overload.

        `most` is the rate of all fixes. The rate before may have been higher because of
        late fixes.
        """
        usual = min(most, self.calm.positions_per_s)
        return (
            self.recovered.age_p99_s < 2 * self.calm.age_p99_s + 0.25
            and self.recovered.positions_per_s > RECOVERED_SHARE * usual
        )

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.closed:
            faults.append(f"spectators were closed: {self.closed}")
        if not self.merged:
            faults.append("nothing was merged: that was no overload")
        if self.repeated:
            faults.append(f"{self.repeated} positions came with a newer one")
        if self.recovery_s is None:
            faults.append("it did not recover")
        if self.long:
            first, *_, last = self.overload
            if last.age_p99_s > AGE_LIMIT_S:
                faults.append(f"what is shown is {last.age_p99_s} s old")
            if self.recovery_s is not None and self.recovery_s > RECOVERY_LIMIT_S:
                faults.append(f"it recovered in {self.recovery_s} s")
            if last.age_p99_s > 2 * first.age_p99_s + 1:
                faults.append(f"its age grows: {first.age_p99_s} to {last.age_p99_s} s")
            if last.rss_kib - self.calm.rss_kib > GROWTH_KIB:
                faults.append(f"memory grew to {last.rss_kib} KiB")
            if last.positions_per_s >= self.calm.positions_per_s:
                faults.append("the rate did not fall: that was no overload")
            if min(self.least_share.values()) < FAIR_SHARE:
                faults.append(f"unfair: {self.least_share}")
        return faults


class Spectator(Peer):
    """Counts positions and records the ages of those in sampled frames, in seconds."""

    def __init__(self, clock: Clock, kind: str, sample: int) -> None:
        super().__init__()
        self.clock = clock
        self.kind = kind
        self.sample = sample
        self.positions = 0
        self.frames = 0
        self.ages: list[float] = []
        # In the decoded frames: positions merged away, and positions sent with a newer
        # one of the same runner.
        self.merged = 0
        self.repeated = 0

    async def follow(self, url: str, codes: list[str], tick: int) -> None:
        await self.open(url, SUBPROTOCOLS["seed" if self.kind == "seed" else "v1"])
        if self.kind == "seed":
            self.send({"initialRequest": True, "following": codes})
        elif self.kind == "typed":
            self.send({"type": "follow", "runners": codes, "tick": tick})
        else:
            self.send({"type": "follow", "public": True, "tick": tick})

    def received(self, text: bytes) -> None:
        if self.kind == "seed":
            self.positions += 1
        elif text.startswith(b'{"type":"positions"'):
            # One bracket per row, and the outer list.
            self.positions += text.count(b"[") - 1
        else:
            return
        self.frames += 1
        if self.frames % self.sample == 0:
            message = orjson.loads(text)
            rows = message.get("fixes", ())
            self.merged += message.get("merged", 0)
            self.repeated += len(rows) - len({row[0] for row in rows})
            lngs = [row[3] for row in rows] if rows else [message.get("lng")]
            self.ages += [self.clock.age(lng) for lng in lngs if lng is not None]


@contextlib.asynccontextmanager
async def throttled(pid: int, share: float, cycle: float) -> AsyncIterator[None]:
    """Let a process run for only a share of each cycle."""

    async def hold() -> None:
        while True:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(cycle * (1 - share))
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(cycle * share)

    try:
        async with in_background(hold()):
            yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def overload(store: Store, long: bool) -> OverloadReport:
    """Measure a calm period, three periods of overload, and the recovery."""
    scale = LONG if long else SHORT
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = OverloadReport(store, long, scale.public + scale.typed + scale.seed)
    with started(store) as server:
        tokens = await server.adatabase(make_phones, scale.runners)
        codes, url, clock = list(tokens), server.ws_url + "/", Clock()
        phones = [
            Phone(url, code, token, rate=scale.rate, place=clock.place)
            for code, token in tokens.items()
        ]
        kinds = ["public"] * scale.public + ["typed"] * scale.typed
        kinds += ["seed"] * scale.seed
        spectators = [Spectator(clock, kind, scale.sample) for kind in kinds]
        async with in_background(*map(Phone.run, phones)):
            await until(lambda: all(phone.acked for phone in phones), PATIENCE_S)
            for number, spectator in enumerate(spectators):
                first = number * FOLLOWS % len(codes)
                theirs = (codes + codes)[first : first + FOLLOWS]
                await spectator.follow(url, theirs, scale.tick_ms)
            if not await until(
                lambda: all(s.positions for s in spectators), PATIENCE_S
            ):
                report.wrong.append("some saw nothing at all")
            # Delays by garbage collection in this process are not the server's.
            gc.collect()
            gc.freeze()
            pid = server.pid
            report.calm = await _measure(spectators, pid, scale.calm_s)
            share = min(0.9, report.calm.server_cores * CPU_SHARE)
            async with in_background(_connect_newcomers(url, report)):
                async with throttled(pid, share, scale.cycle_s):
                    before = [spectator.positions for spectator in spectators]
                    merged = _merged(spectators)
                    for _ in range(3):
                        phase = await _measure(spectators, pid, scale.overload_s / 3)
                        report.overload.append(phase)
                    after = [spectator.positions for spectator in spectators]
                    report.merged = _merged(spectators) - merged
                over_at = time.monotonic()
                values = await asyncio.to_thread(metrics, server)
                report.loop_lag_s = round(values["spectate_loop_lag_seconds"], 2)
                while time.monotonic() - over_at < PATIENCE_S:
                    report.recovered = await _measure(spectators, pid, 1)
                    if report.has_recovered(scale.positions_per_s):
                        report.recovery_s = round(time.monotonic() - over_at, 1)
                        break
            # Newcomers are accepted again.
            if not await _is_welcome(url):
                report.wrong.append("newcomers are still turned away")
            await all_acked(phones, PATIENCE_S)
        report.repeated = sum(spectator.repeated for spectator in spectators)
        gains = [late - early for early, late in zip(before, after, strict=True)]
        report.least_share = _shares(spectators, gains)
        closed = (each.closed.result() for each in spectators if each.closed.done())
        report.closed = dict(Counter(map(str, closed)))
        for spectator in spectators:
            spectator.reset()
        server.stop()
        stored = await asyncio.to_thread(stored_in, server.env["DATABASE_URL"])
        report.compare_phones(phones, stored)
        report.wrong += tracebacks(server)
    return report


def _merged(spectators: list[Spectator]) -> int:
    return sum(spectator.merged for spectator in spectators)


async def _measure(spectators: list[Spectator], pid: int, seconds: float) -> Phase:
    for spectator in spectators:
        spectator.ages.clear()
    positions = sum(spectator.positions for spectator in spectators)
    cpu, start = process.cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - start
    ages = [age for spectator in spectators for age in spectator.ages] or [float("inf")]
    seen = sum(spectator.positions for spectator in spectators) - positions
    return Phase(
        seconds=round(took, 1),
        positions_per_s=round(seen / took),
        age_p50_s=round(percentile(ages, 0.5) / 1000, 2),
        age_p99_s=round(percentile(ages, 0.99) / 1000, 2),
        server_cores=round((process.cpu_seconds(pid) - cpu) / took, 3),
        rss_kib=process.rss_kib(pid),
    )


async def _connect_newcomers(url: str, report: OverloadReport) -> None:
    """Connect newcomers repeatedly and count the outcomes."""
    while True:
        await asyncio.sleep(NEWCOMER_EVERY_S)
        newcomer = Peer()
        try:
            await newcomer.open(url, SUBPROTOCOLS["v1"])
            await asyncio.wait([newcomer.closed], timeout=0.5)
            done = newcomer.closed.done()
            what = str(newcomer.closed.result()) if done else "welcome"
        except (OSError, Refused, TimeoutError) as error:
            what = type(error).__name__
        finally:
            if hasattr(newcomer, "transport"):
                newcomer.reset()
        report.newcomers[what] = report.newcomers.get(what, 0) + 1


async def _is_welcome(url: str) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        newcomer = await Peer().open(url, SUBPROTOCOLS["v1"])
        with contextlib.suppress(TimeoutError):
            message = await newcomer.message(1)
            newcomer.reset()
            return bool(message["type"] == "welcome")
        newcomer.reset()
    return False


def _shares(spectators: list[Spectator], gains: list[int]) -> dict[str, float]:
    """Return, by kind, the fewest positions divided by the median."""
    by_kind: dict[str, list[int]] = {}
    for spectator, gain in zip(spectators, gains, strict=True):
        by_kind.setdefault(spectator.kind, []).append(gain)
    shares = {}
    for kind, all_gains in by_kind.items():
        ordered = sorted(all_gains)
        median = ordered[len(ordered) // 2]
        shares[kind] = round(ordered[0] / median, 2) if median else 0.0
    return shares


if __name__ == "__main__":
    by_hand(overload, STORES)
