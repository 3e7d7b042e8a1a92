"""The workload `race`: every spectator watches every runner, all at 1 Hz."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from dataclasses import dataclass

from bench import process
from bench.crowd import OLDEST_MS, Crowd, percentile

# How long deliveries may take after the last position.
DRAIN_S = 5.0


@dataclass
class RaceResult:
    """One run, in seconds, milliseconds (`_ms`), MiB (`_mb`) and shares of a core."""

    workload: str
    url: str
    dialect: str
    runners: int
    spectators: int
    tick: int | None
    seconds: float
    published: int
    expected: int
    received: int
    merged: int
    lost: int
    disordered: int
    errors: int
    closed: int
    frames: int
    bytes_a_spectator_minute: int
    # Spectators who were refused at first and connected later.
    refused: int
    connect_s: float
    connect_cpu_s: float
    server_cpu_s: float
    server_core: float
    cpu_us_a_spectator_second: float
    cpu_us_a_delivery: float
    rss_mb: float
    generator_core: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    # The generator's greatest delay, which is part of the ages.
    lag_max_ms: float
    acked: int
    ack_p99_ms: float | None


async def run(crowd: Crowd) -> RaceResult:
    """Connect everybody, then measure while the runners publish."""
    options = crowd.options
    pid: int = options.pid
    began, cpu = time.perf_counter(), process.cpu_seconds(pid)
    await crowd.start()
    await crowd.gather(options.spectators)
    connect_s = time.perf_counter() - began
    connect_cpu = process.cpu_seconds(pid) - cpu
    await crowd.publish(options.warmup)
    await asyncio.sleep(crowd.settle)
    gc.collect()
    gc.freeze()
    gc.disable()
    crowd.forget()
    cpu, own = process.cpu_seconds(pid), time.process_time()
    start = time.perf_counter()
    await crowd.publish(options.duration)
    seconds = time.perf_counter() - start
    cpu, own = process.cpu_seconds(pid) - cpu, time.process_time() - own
    rss = process.rss_kib(pid) / 1024
    await crowd.drain(DRAIN_S)
    crowd.age()
    received, merged, frames = crowd.count()
    published = len(crowd.due) - crowd.first
    expected = crowd.expected(published)
    lost = expected - received - merged
    if lost > 0:
        # Lost deliveries have an infinite age. In dialects with one frame per position,
        # only some sockets are read.
        share = sum(crowd.ages.values()) / max(1, received)
        crowd.ages[OLDEST_MS] += max(1, round(lost * share))
    acks = Counter(round(age) for age in crowd.ack_ages)
    crowd.leave()
    return RaceResult(
        workload="race",
        url=options.url,
        dialect=options.dialect,
        runners=crowd.runners,
        spectators=options.spectators,
        tick=options.tick if options.dialect == "v1" else None,
        seconds=round(seconds, 2),
        published=published,
        expected=expected,
        received=received,
        merged=merged,
        lost=lost,
        disordered=crowd.disordered,
        errors=crowd.errors,
        closed=crowd.closed,
        frames=frames,
        bytes_a_spectator_minute=round(
            crowd.bytes() / options.spectators / seconds * 60
        ),
        refused=crowd.refused,
        connect_s=round(connect_s, 2),
        connect_cpu_s=round(connect_cpu, 2),
        server_cpu_s=round(cpu, 2),
        server_core=round(cpu / seconds, 3),
        cpu_us_a_spectator_second=round(cpu / seconds / options.spectators * 1e6, 2),
        cpu_us_a_delivery=round(cpu * 1e6 / max(1, received), 3),
        rss_mb=round(rss, 1),
        generator_core=round(own / seconds, 3),
        p50_ms=percentile(crowd.ages, 0.5),
        p99_ms=percentile(crowd.ages, 0.99),
        max_ms=percentile(crowd.ages, 1),
        lag_max_ms=round(crowd.lag * 1000, 1),
        acked=len(crowd.ack_ages),
        ack_p99_ms=percentile(acks, 0.99) if acks else None,
    )
