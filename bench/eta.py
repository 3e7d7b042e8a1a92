"""Measure `eta.json` with spectators who have chosen a place.

    python -m bench.eta [--spectators 15000] [--seconds 60] [--every SECONDS]

Each spectator follows up to three of 200 runners and has chosen a place: most of them
a checkpoint, the others any of 40 places. All ask within the first 20 s, which are not
measured; then each asks when a page would (static/js/arrivals.js), or with `--every` at
a fixed interval, from a random time within the first wait on. As many connections are
kept open as by the proxy of deploy/nginx. Latencies count from the time when a request
is due, so that a server that falls behind cannot hide it. Prints p50 and p99 in ms, the
CPU time of the server per second (`cores`; `cores_idle` before anybody asks) and per
request, and the responses that were no answer.

Before that, one request at a time has 20 runners: first without kept predictions
(`ms_20_cold`), then with them (`ms_20_kept`). Prints the median CPU time of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from bench.process import cpu_seconds
from tests.factories import people  # noqa: F401 sets Django up for the next import
from tests.races.field import make_entry, make_race
from tests.servers import Server

# The runners of one request, and the pause before it: what a race shows is kept for a
# second.
AT_ONCE = 20
PAUSE_S = 1.1
# When a page asks again, as in static/js/arrivals.js.
EVERY_S = 20.0
LONGEST_S = 180.0
PASSED_EVERY_S = 600.0
SILENT_EVERY_S = 60.0
SHARE = 0.2
RUNNERS = 200
CHECKPOINTS_M = (2_500, 5_000, 7_500, 10_000)
AT_CHECKPOINT = 0.8
PLACES = 40
CONNECTIONS = 512
# Those without a request that are kept, as by deploy/nginx.
KEPT = 64
# What a page's request has, and what a proxy adds.
HEADERS = {
    **{"Host": "127.0.0.1", "Accept": "*/*", "Accept-Encoding": "gzip, deflate, br"},
    **{"Accept-Language": "en-GB,en;q=0.5", "Cookie": "csrftoken=abcdefghijklmnop"},
    **{"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"},
    **{"Referer": "http://127.0.0.1/races/ten/", "Sec-Fetch-Mode": "cors"},
    **{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"},
}
HEAD = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
IDLE_S = 5.0


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
    query = {"at": place, "runners": ",".join(f"r{n}" for n in mine)}
    return f"/races/ten/eta.json?{urlencode(query)}"


@dataclass
class Ask:
    """One request: when it is due (s), whose it is, and what came of it."""

    due: float
    spectator: int
    latency: float = 0.0
    status: str = ""


class Crowd:
    """Spectators who ask at their own times, by the connections of a proxy."""

    def __init__(self, port: int, paths: list[str], every: float | None) -> None:
        self.port = port
        self.paths = paths
        self.every = every
        # How long each waits with the next request, s: before the first one, for as
        # long as everybody together takes to open the page.
        self.waits = [EVERY_S] * len(paths)
        self.due: list[tuple[float, int]] = []
        self.found: list[Ask] = []
        # Open connections without a request, the last used one at the end.
        self.kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def run(self, seconds: float) -> list[Ask]:
        """Ask for some seconds, from random times on; return these requests."""
        self.free = asyncio.Semaphore(CONNECTIONS)
        begin = time.perf_counter()
        self.found = []
        self.due = [
            (begin + wait * random.random(), n)  # noqa: S311
            for n, wait in enumerate(self.waits)
        ]
        heapify(self.due)
        async with asyncio.TaskGroup() as asking:
            while (now := time.perf_counter()) < begin + seconds:
                while self.due and self.due[0][0] <= now:
                    asking.create_task(self._ask(Ask(*heappop(self.due))))
                await asyncio.sleep(0.002)
        while self.kept:
            self.kept.pop()[1].close()
        return self.found

    async def _ask(self, ask: Ask) -> None:
        request = f"GET {self.paths[ask.spectator]} HTTP/1.1\r\n{HEAD}\r\n".encode()
        async with self.free:
            status, body = await self._answer(request)
        ask.latency = time.perf_counter() - ask.due
        ask.status = status
        self.found.append(ask)
        wait = self.every or EVERY_S
        if status == "200" and not self.every:
            wait = wait_of(json.loads(body))
        self.waits[ask.spectator] = wait
        heappush(self.due, (ask.due + wait, ask.spectator))

    async def _answer(self, request: bytes) -> tuple[str, bytes]:
        """Send a request on a kept connection, or on a new one if that has ended."""
        is_kept = bool(self.kept)
        reader, writer = (
            self.kept.pop()
            if is_kept
            else await asyncio.open_connection("127.0.0.1", self.port)
        )
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].split()[0])
            body = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            if is_kept:
                # The server ends connections that have been idle for 5 s.
                return await self._answer(request)
            return "no answer", b""
        if len(self.kept) < KEPT:
            self.kept.append((reader, writer))
        else:
            writer.close()
        return head.split()[1], body


def ask_for_many(server: Server) -> dict[str, float]:
    """Return the CPU time of an answer with many runners, in ms: first, and again."""
    spent: dict[str, list[float]] = {"cold": [], "kept": []}
    for first in range(0, RUNNERS, AT_ONCE):
        codes = ",".join(f"r{n}" for n in range(first, first + AT_ONCE))
        url = f"{server.url}/races/ten/eta.json?at=9500&runners={codes}"
        for of in spent.values():
            time.sleep(PAUSE_S)
            before = cpu_seconds(server.pid)
            with urlopen(url) as answer:  # noqa: S310
                assert len(json.load(answer)["runners"]) == AT_ONCE
            of.append(cpu_seconds(server.pid) - before)
    return {
        f"ms_{AT_ONCE}_{name}": round(1000 * median(of), 1)
        for name, of in spent.items()
    }


def wait_of(answer: dict[str, Any]) -> float:
    """Return after how many seconds a page asks again."""
    return min(_wait(runner, answer["time"]) for runner in answer["runners"])


def _wait(runner: dict[str, Any], now: int) -> float:
    statuses = {passed["status"] for passed in runner["passes"]}
    is_silent = runner["probable"] or statuses & {"silent", "off_course"}
    left: list[float] = [
        SHARE * (passed["at"] - now) / 1000
        for passed in runner["passes"]
        if passed["status"] == "expected"
    ]
    is_over = statuses == {"passed"}
    longest = PASSED_EVERY_S if is_over else LONGEST_S
    if is_silent:
        longest = SILENT_EVERY_S
    return max(EVERY_S, min([longest, *left]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spectators", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float)
    options = parser.parse_args()
    chance = random.Random(1)  # noqa: S311
    paths = [path_of(chance) for _ in range(options.spectators)]
    with Server() as server:
        server.database(make_field)
        idle = cpu_seconds(server.pid)
        time.sleep(IDLE_S)
        idle = (cpu_seconds(server.pid) - idle) / IDLE_S
        many = ask_for_many(server)
        crowd = Crowd(server.port, paths, options.every)
        asyncio.run(crowd.run(EVERY_S))
        before, begin = cpu_seconds(server.pid), time.perf_counter()
        found = asyncio.run(crowd.run(options.seconds))
        spent, past = cpu_seconds(server.pid) - before, time.perf_counter() - begin
    cuts = quantiles((1000 * ask.latency for ask in found), n=100)
    failed = Counter(ask.status for ask in found if ask.status != "200")
    result = {
        "spectators": options.spectators,
        "requests": len(found),
        "requests_per_s": round(len(found) / past, 1),
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "cores": round(spent / past, 3),
        "cores_idle": round(idle, 3),
        "ms_per_request": round(1000 * spent / len(found), 3),
        "failed": dict(failed),
        **many,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
