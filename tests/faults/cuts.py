"""Cut the connections of spectators and phones at random, for 0.1 to 60 s.

In the end every spectator has, for every runner, the latest position and the trail that
the database has. Each connection leads to a randomly chosen server: a single one on
SQLite, or one of two behind Redis and PostgreSQL. The long form has 200 spectators.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass
from typing import Literal

from runners.units.clock import now_ms
from tests.background import in_background
from tests.factories.people import make_phones
from tests.faults.by_hand import by_hand
from tests.faults.comparison import Comparison
from tests.faults.phones import Phone, all_acked
from tests.faults.proxy import Line
from tests.faults.randomness import new_rng, rng
from tests.faults.spectators import Spectator, caught_up
from tests.faults.stores import (
    LOAD,
    started,
    stored_in,
    tracebacks,
)
from tests.servers import Server
from tests.services import Redis, shared_postgres

Setup = Literal["one", "two"]

# Fixes that a phone sends at once after an outage. More than the 1,000 fixes per runner
# that backfill sends, so that a client has to fetch the track.
BACKLOG_FIXES = 1_500
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Scale:
    spectators: int
    runners: int
    rate: float  # fixes per second and runner
    seconds: float
    up_s: tuple[float, float]  # time between two cuts of a line
    cut_s: tuple[float, float]  # duration of a cut
    timeout_s: float


LONG = Scale(200, 20, 1.0, 240, (2, 40), (0.1, 60), 120)
SHORT = Scale(20, 6, 4.0, 12, (0.3, 3), (0.1, 3), 40)


@dataclass
class CutReport(Comparison):
    setup: str
    spectators: int
    seconds: float = 0.0
    cuts: int = 0


async def fail_now_and_then(line: Line, scale: Scale) -> None:
    """Cut a line repeatedly. Half of the cuts are not noticed by its ends."""
    own_rng = new_rng()
    shortest, longest = (math.log(seconds) for seconds in scale.cut_s)
    while True:
        await asyncio.sleep(own_rng.uniform(*scale.up_s))
        seconds = math.exp(own_rng.uniform(shortest, longest))
        await line.cut(seconds, silently=own_rng.random() < 0.5)


async def cuts(setup: Setup, long: bool) -> CutReport:
    """Cut lines while runners publish and compare spectators with the database."""
    scale = LONG if long else SHORT
    with contextlib.ExitStack() as stack:
        if setup == "one":
            servers = [stack.enter_context(started("sqlite"))]
        else:
            redis = stack.enter_context(Redis())
            env = LOAD | {
                "DATABASE_URL": shared_postgres().new_database(),
                "REDIS_URL": redis.url,
            }
            servers = [stack.enter_context(Server("uvicorn", **env)) for _ in range(2)]
        return await _cuts(setup, servers, scale)


async def _cuts(setup: str, servers: list[Server], scale: Scale) -> CutReport:
    report = CutReport(setup, scale.spectators)
    tokens = await servers[0].adatabase(make_phones, scale.runners)
    codes = list(tokens)
    ports = [server.port for server in servers]
    phone_lines = [await Line(ports).open() for _ in codes]
    lines = [await Line(ports).open() for _ in range(scale.spectators)]
    all_lines = [*lines, *phone_lines]
    phones = [
        Phone(line.url, code, tokens[code], rate=scale.rate)
        for line, code in zip(phone_lines, codes, strict=True)
    ]
    spectators = [
        _spectator(number, line, servers, codes) for number, line in enumerate(lines)
    ]
    start = time.monotonic()
    async with in_background(*map(Spectator.run, spectators)):
        async with in_background(*map(Phone.run, phones)):
            failing = (fail_now_and_then(each, scale) for each in all_lines)
            async with in_background(*failing):
                await asyncio.sleep(scale.seconds / 2)
                since = now_ms() - HOUR_MS
                backlog = range(since, since + BACKLOG_FIXES)
                phones[0].record(backlog, (48.5, 2.5))
                await asyncio.sleep(scale.seconds / 2)
            await all_acked(phones, scale.timeout_s)
        stored = await asyncio.to_thread(stored_in, servers[0].env["DATABASE_URL"])
        await caught_up(spectators, stored.tracks, scale.timeout_s)
    report.seconds = round(time.monotonic() - start, 1)
    for line in all_lines:
        await line.close()
    report.cuts = sum(line.cuts for line in all_lines)
    report.compare(phones, spectators, stored)
    report.wrong += tracebacks(*servers)
    return report


def _spectator(
    number: int, line: Line, servers: list[Server], codes: list[str]
) -> Spectator:
    """Follow all public runners with every second spectator, else half of them."""
    some = rng.sample(codes, len(codes) // 2)
    follow = {"runners": some} if number % 2 else {"public": True}
    http_url = servers[number // 2 % len(servers)].url
    return Spectator(line.url, http_url, follow, some if number % 2 else codes)


if __name__ == "__main__":
    by_hand(cuts, ("one", "two"))
