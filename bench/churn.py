"""The workload `churn`: visitors connect, follow and leave while others watch."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from bench import process
from bench.crowd import Crowd, percentile, source_of
from tests.websocket import RawClient

DRAIN_S = 5.0


@dataclass
class ChurnResult:
    """One run, in seconds, milliseconds (`_ms`), MiB (`_mb`) and µs of CPU (`_us`).

    A visit counts once the visitor follows. The ages are those of the spectators who
    stayed; up to a tick of each is the wait for its frame. The generator delays what it
    publishes by up to `lag_max_ms`; all of it counts as age.
    """

    workload: str
    url: str
    dialect: str
    tick_ms: int
    spectators: int
    visitors: int
    seconds: float
    visits: int
    visits_per_s: float
    cpu_a_visit_us: float | None
    server_core: float
    generator_cpu: float
    expected: int
    lost: int
    p50_ms: float
    p99_ms: float
    lag_max_ms: float
    closed: int
    errors: int
    rss_before_mb: float
    rss_after_mb: float
    files_before: int
    files_after: int


async def run(crowd: Crowd) -> ChurnResult:
    options = crowd.options
    pid: int = options.pid
    await crowd.start()
    await crowd.gather(options.spectators)
    # The first round is not counted, because memory of the first visits is reused
    # later.
    await visit_for(crowd, 2.0)
    await asyncio.sleep(crowd.settle + 1)
    crowd.forget()
    rss, files = process.rss_kib(pid), process.open_files(pid)
    cpu, own = process.cpu_seconds(pid), time.process_time()
    loop = asyncio.get_running_loop()
    began = loop.time()
    visits, _ = await asyncio.gather(
        visit_for(crowd, options.duration), crowd.publish(options.duration)
    )
    seconds = loop.time() - began
    cpu, own = process.cpu_seconds(pid) - cpu, time.process_time() - own
    await crowd.drain(DRAIN_S)
    crowd.age()
    await asyncio.sleep(2)
    received, merged, _ = crowd.count()
    expected = crowd.expected(len(crowd.due) - crowd.first)
    result = ChurnResult(
        workload="churn",
        url=options.url,
        dialect=options.dialect,
        tick_ms=options.tick,
        spectators=options.spectators,
        visitors=options.visitors,
        seconds=round(seconds, 2),
        visits=visits,
        visits_per_s=round(visits / seconds, 1),
        cpu_a_visit_us=round(cpu * 1e6 / visits, 1) if visits else None,
        server_core=round(cpu / seconds, 3),
        generator_cpu=round(own / seconds, 3),
        expected=expected,
        lost=expected - received - merged,
        p50_ms=percentile(crowd.ages, 0.5),
        p99_ms=percentile(crowd.ages, 0.99),
        lag_max_ms=round(crowd.lag * 1000, 1),
        closed=crowd.closed,
        errors=crowd.errors,
        rss_before_mb=round(rss / 1024, 1),
        rss_after_mb=round(process.rss_kib(pid) / 1024, 1),
        files_before=files,
        files_after=process.open_files(pid),
    )
    crowd.leave()
    return result


async def visit_for(crowd: Crowd, seconds: float) -> int:
    """Connect visitors for some seconds and return the number of visits."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    visits = 0

    async def visitor(number: int) -> None:
        nonlocal visits
        while loop.time() < end:
            client: RawClient = crowd.make_visitor()
            await client.open(
                crowd.options.url, crowd.subprotocol, source=source_of(number)
            )
            await crowd.follow(client, number)
            visits += 1
            client.reset()

    await asyncio.gather(*(visitor(n) for n in range(crowd.options.visitors)))
    return visits
