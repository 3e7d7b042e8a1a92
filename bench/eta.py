"""Measure `eta.json` with spectators who have chosen a place.

    python -m bench.eta [--spectators 15000] [--seconds 20]

Each spectator follows up to three of 200 runners and has chosen a place: most of them
a checkpoint, the others any of 40 places. Like a page, each asks every 20 s, at a fixed
time of its own. Latencies count from that time, so that a server that falls behind
cannot hide it. Prints p50 and p99 in ms, the CPU time of the server per second and per
request, and the responses that were no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from statistics import quantiles

from bench.process import cpu_seconds
from tests.factories import people  # noqa: F401 sets Django up for the next import
from tests.races.field import make_entry, make_race
from tests.servers import Server

EVERY_S = 20.0
RUNNERS = 200
CHECKPOINTS_M = (2_500, 5_000, 7_500, 10_000)
AT_CHECKPOINT = 0.8
PLACES = 40
CONNECTIONS = 32
WARM_UP_S = 3.0


def make_field() -> None:
    """Make a race with runners between 5 and 9 km."""
    race = make_race()
    for n in range(RUNNERS):
        make_entry(race, f"r{n}", str(n), pace=0.27 + 0.2 * n / RUNNERS)


def path_of(chance: random.Random) -> str:
    """Return the request of one spectator."""
    place = chance.choice(CHECKPOINTS_M)
    if chance.random() > AT_CHECKPOINT:
        place = 10_000 * chance.randrange(PLACES) // PLACES
    mine = sorted(chance.sample(range(RUNNERS), chance.randint(1, 3)))
    runners = ",".join(f"r{n}" for n in mine)
    return f"/races/ten/eta.json?at={place}&runners={runners}"


async def ask(
    port: int, due: asyncio.Queue[tuple[float, str]], found: list[tuple[float, str]]
) -> None:
    """Send requests on one connection; record latency (s) and status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        at, path = await due.get()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))
        found.append((time.perf_counter() - at, head.split()[1]))
        due.task_done()


async def run(port: int, paths: list[str], seconds: float) -> list[tuple[float, str]]:
    """Ask at the spectators' times; return the latencies and statuses."""
    due: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
    found: list[tuple[float, str]] = []
    asking = [asyncio.create_task(ask(port, due, found)) for _ in range(CONNECTIONS)]
    begin, gap = time.perf_counter(), EVERY_S / len(paths)
    for n in range(int(seconds / gap)):
        at = begin + n * gap
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        due.put_nowait((at, paths[n % len(paths)]))
    await due.join()
    for task in asking:
        task.cancel()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spectators", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=EVERY_S)
    options = parser.parse_args()
    chance = random.Random(1)  # noqa: S311
    paths = [path_of(chance) for _ in range(options.spectators)]
    with Server() as server:
        server.database(make_field)
        asyncio.run(run(server.port, paths, WARM_UP_S))
        before, begin = cpu_seconds(server.pid), time.perf_counter()
        found = asyncio.run(run(server.port, paths, options.seconds))
        spent, past = cpu_seconds(server.pid) - before, time.perf_counter() - begin
    cuts = quantiles((1000 * latency for latency, _ in found), n=100)
    failed = Counter(status for _, status in found if status != "200")
    result = {
        "spectators": options.spectators,
        "requests": len(found),
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "cores": round(spent / past, 3),
        "ms_per_request": round(1000 * spent / len(found), 3),
        "failed": dict(failed),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
