"""The workload `idle`: the memory of a connected spectator who follows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from bench import process
from bench.crowd import Crowd

# Spectators who connect first, so that memory allocated once is not counted.
FIRST = 200
PAGE_KIB = 4


@dataclass
class IdleResult:
    """One run, in KiB per socket in the server's processes and in the kernel."""

    workload: str
    url: str
    dialect: str
    follows: str
    spectators: int
    kib_a_socket: float
    # Measured after a ping and a position have reached every spectator.
    kib_a_socket_reached: float
    # The server's end only: half of the kernel's memory for both ends.
    kernel_kib_a_socket: float
    connect_s: float
    connect_cpu_us: float
    closed: int
    errors: int
    rss_mb: float


def kernel_kib() -> int:
    """Return the kernel's memory for objects and socket buffers of all processes, in
    KiB.
    """
    slab = next(
        int(line.split()[1])
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("Slab:")
    )
    tcp = next(
        int(line.split()[-1])
        for line in Path("/proc/net/sockstat").read_text().splitlines()
        if line.startswith("TCP:")
    )
    return slab + tcp * PAGE_KIB


async def run(crowd: Crowd) -> IdleResult:
    options = crowd.options
    pid: int = options.pid
    await crowd.start()
    await crowd.gather(FIRST)
    await crowd.publish(crowd.period)
    await asyncio.sleep(options.settle)
    before, kernel = process.rss_kib(pid), kernel_kib()
    loop = asyncio.get_running_loop()
    began, cpu = loop.time(), process.cpu_seconds(pid)
    await crowd.gather(options.spectators)
    connect_s = loop.time() - began
    cpu = process.cpu_seconds(pid) - cpu
    await asyncio.sleep(options.settle)
    rss = process.rss_kib(pid)
    both_ends = kernel_kib() - kernel
    await asyncio.sleep(max(0.0, options.pinged - options.settle))
    await crowd.publish(crowd.period)
    await asyncio.sleep(options.settle)
    reached = process.rss_kib(pid)
    result = IdleResult(
        workload="idle",
        url=options.url,
        dialect=options.dialect,
        follows=options.follows,
        spectators=options.spectators,
        kib_a_socket=round((rss - before) / options.spectators, 2),
        kib_a_socket_reached=round((reached - before) / options.spectators, 2),
        kernel_kib_a_socket=round(both_ends / options.spectators / 2, 2),
        connect_s=round(connect_s, 2),
        connect_cpu_us=round(cpu * 1e6 / options.spectators, 1),
        closed=crowd.closed,
        errors=crowd.errors,
        rss_mb=round(reached / 1024, 1),
    )
    crowd.leave()
    return result
