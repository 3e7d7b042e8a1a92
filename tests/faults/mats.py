"""Kill the server and cut a timing system's cable while it sends a race's passings.

In the end the database and the exported results have every split of the file, exactly
and once, and every runner is in the snapshot. `mylaps` and `raceresult` name the wire
format, on SQLite; `postgres` is MYLAPS on PostgreSQL. The long form plays a marathon
at 60 times real time: SPECTATE_RESULTS names its file.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import math
import os
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import orjson
from django.utils import timezone

import tests.servers  # noqa: F401  it sets Django up
from bench.process import cpu_seconds
from runners.models import Checkpoint, Passing, Race, Split
from runners.races.arrival.results import Results, read_results
from runners.simulation.mats import (
    Decoder,
    Plan,
    all_stored,
    feed,
    plan_of,
    play_mylaps,
)
from tests.faults.by_hand import by_hand
from tests.faults.proxy import Line
from tests.faults.randomness import rng
from tests.faults.stores import started, tracebacks
from tests.launcher import Launched
from tests.races.field import METRES_PER_DEGREE
from tests.servers import ROOT, Server, clean_environment, free_port, launcher

Setup = Literal["mylaps", "raceresult", "postgres"]
SETUPS: tuple[Setup, ...] = ("mylaps", "raceresult", "postgres")

MARATHON = ROOT.parent / "shared/data/splits/boston_2013.csv"
# Three runners of 10 km, one of whom two mats have missed.
TEN = b"2500,5000,10000\n700,1450,3000\n800,,3300\n900,1800,3600\n"
# The first and the last part of the race in which nothing fails, as shares.
FAULTS_BETWEEN = (0.05, 0.95)
CUT_S = (0.3, 3.0)


@dataclass(frozen=True)
class Scale:
    results: Results
    speed: float
    kills: int
    cuts: int


def long_scale() -> Scale:
    path = Path(os.environ.get("SPECTATE_RESULTS", MARATHON))
    return Scale(read_results(path.read_bytes()), 60.0, kills=3, cuts=2)


def short_scale() -> Scale:
    return Scale(read_results(TEN), 2_000.0, kills=1, cuts=1)


@dataclass
class MatsReport:
    setup: str
    runners: int = 0
    splits: int = 0
    missing: int = 0
    differing: int = 0
    # More passings or splits than the file has.
    surplus: int = 0
    # Cells of the exported results that are not those of the file.
    exported_wrong: int = 0
    # Runners of the file who are not in the snapshot of the race.
    unseen: int = 0
    kills: int = 0
    cuts: int = 0
    connects: int = 0
    # From the first passing until all are stored.
    seconds: float = 0.0
    # Processor time of the serving process and of the command, of all starts.
    serving_cpu: float = 0.0
    timing_cpu: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        counts = {
            "splits missing": self.missing,
            "splits differ": self.differing,
            "passings or splits too many": self.surplus,
            "exported cells differ": self.exported_wrong,
            "runners not in the snapshot": self.unseen,
        }
        return self.wrong + [
            f"{count} {what}" for what, count in counts.items() if count
        ]


class Timing:
    """The command `timing` of a server, which can be killed."""

    def __init__(self, server: Server, log: Path, *args: str) -> None:
        self.server = server
        self.command = ["manage.py", "timing", *args]
        self.log = log
        self.start()

    def start(self) -> None:
        env = clean_environment(**self.server.env)
        self.process = Launched(launcher(), self.command, env, self.log, self.log)


def make_race(results: Results) -> Race:
    """Make a public race up a hill and down, with a checkpoint at each mat."""
    length = results.length
    steps = range(1001)
    race = Race.objects.create(
        slug="played",
        name="Played",
        start=timezone.now() - timedelta(hours=8),
        ends=timezone.now() + timedelta(hours=8),
        timezone="America/New_York",
        length=length,
        line=[
            [42 + n * length / 1000 / METRES_PER_DEGREE, -71.5, 50 * math.sin(n / 150)]
            for n in steps
        ],
    )
    kinds = {0.0: "start", length: "finish"}
    for distance in [0.0, *results.distances.tolist()]:
        kind = kinds.get(distance, "split")
        name = kind.title() if distance in kinds else f"{distance:g} m"
        Checkpoint.objects.create(race=race, name=name, distance=distance, kind=kind)
    return race


def make_plan(results: Results) -> Plan:
    return plan_of(make_race(results), results)


async def mats(setup: Setup, long: bool) -> MatsReport:
    """Play a race through a wire format, kill and cut, and compare every split."""
    scale = await asyncio.to_thread(long_scale if long else short_scale)
    report = MatsReport(setup, runners=len(scale.results.times))
    with (
        started("postgres" if setup == "postgres" else "sqlite") as server,
        tempfile.TemporaryDirectory(prefix="spectate-timing-") as folder,
    ):
        plan = await server.adatabase(make_plan, scale.results)
        report.splits = len(plan.splits)
        port = free_port()
        line = await Line([port]).open()
        if setup == "raceresult":
            args = ("raceresult", "--connect", f"127.0.0.1:{line.port}")
        else:
            args = ("mylaps", "--listen", f"127.0.0.1:{port}")
        timing = await asyncio.to_thread(
            Timing, server, Path(folder, "log"), *args, "--race", "played"
        )
        began = time.monotonic()
        async with failing(report, scale, plan, server, timing, line):
            if setup == "raceresult":
                decoder = Decoder()
                async with await asyncio.start_server(decoder.serve, "127.0.0.1", port):
                    await feed(decoder, plan, scale.speed)
                    await all_stored(partial(server.adatabase, plan.wrong))
                report.connects = decoder.connects
            else:
                report.connects = await play_mylaps(
                    plan, "127.0.0.1", line.port, scale.speed
                )
        report.seconds = round(time.monotonic() - began, 1)
        report.cuts = line.cuts
        add_cpu(report, server, timing)
        await line.close()
        await server.adatabase(compare_stored, report, scale.results)
        await asyncio.to_thread(compare_shown, report, scale.results, server.url)
        timing.process.kill_all()
        report.wrong += tracebacks(server)
        if "Traceback" in (log := timing.log.read_text(errors="replace")):
            report.wrong.append(log[-4_000:])
    return report


@contextlib.asynccontextmanager
async def failing(
    report: MatsReport,
    scale: Scale,
    plan: Plan,
    server: Server,
    timing: Timing,
    line: Line,
) -> AsyncIterator[None]:
    """Kill both processes, and cut the cable, at random moments of the race."""
    lasts = plan.passings[-1].at / scale.speed
    faults = sorted(
        (lasts * rng.uniform(*FAULTS_BETWEEN), kind)
        for kind in ["kill"] * scale.kills + ["cut"] * scale.cuts
    )
    began = time.monotonic()

    async def fail() -> None:
        for at, kind in faults:
            await more_stored(server, len(plan.passings))
            await asyncio.sleep(began + at - time.monotonic())
            if kind == "cut":
                await line.cut(rng.uniform(*CUT_S), silently=rng.random() < 0.5)
                continue
            add_cpu(report, server, timing)
            report.kills += 1
            await asyncio.to_thread(timing.process.kill_all)
            server.kill()
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(timing.start)

    task = asyncio.create_task(fail())
    yield
    # All of them happen: the players wait for what they have sent.
    await task


async def more_stored(server: Server, most: int) -> None:
    """Wait until a passing is stored after this moment, or all are."""
    before = await server.adatabase(Passing.objects.count)
    while before < most and await server.adatabase(Passing.objects.count) == before:
        await asyncio.sleep(0.2)


def add_cpu(report: MatsReport, server: Server, timing: Timing) -> None:
    report.serving_cpu = round(report.serving_cpu + cpu_seconds(server.pid), 2)
    report.timing_cpu = round(report.timing_cpu + cpu_seconds(timing.process.pid), 2)


def expected(results: Results) -> Iterator[tuple[str, dict[float, float]]]:
    """Yield the code of each row's runner, and the times of their splits."""
    for number, row in enumerate(results.times.tolist(), start=1):
        times = zip(results.distances.tolist(), row, strict=True)
        yield (
            f"sim-{number}",
            {d: t for d, t in times if not math.isnan(t)} | {0.0: 0.0},
        )


def compare_stored(report: MatsReport, results: Results) -> None:
    """Compare each runner's splits with the file, without the plan's help."""
    stored: dict[str, dict[float, float]] = {}
    rows = Split.objects.values_list(
        "entry__runner__code", "checkpoint__distance", "time"
    )
    for code, distance, at in rows:
        own = stored.setdefault(code, {})
        report.surplus += distance in own
        own[distance] = at.timestamp()
    for code, times in expected(results):
        own = stored.pop(code, {})
        report.missing += len(times.keys() - own.keys())
        report.surplus += len(own.keys() - times.keys())
        begin = own.get(0.0, math.nan)
        report.differing += sum(
            not abs(own[distance] - begin - times[distance]) < 0.001
            for distance in own.keys() & times.keys()
        )
    report.surplus += sum(map(len, stored.values()))
    report.surplus += max(0, Passing.objects.count() - report.splits)


def compare_shown(report: MatsReport, results: Results, url: str) -> None:
    """Compare the exported results and the runners of the snapshot with the file."""
    address = f"{url}/races/played/standings.csv?by=chip"
    with urllib.request.urlopen(address, timeout=120) as reply:
        table = list(csv.DictReader(io.StringIO(reply.read().decode("utf-8-sig"))))
    exported = {row["name"].removeprefix("Runner "): row for row in table}
    names = [f"{distance:g} m" for distance in results.distances[:-1]] + ["Finish"]
    for number, row in enumerate(results.times.tolist(), start=1):
        cells = exported.get(str(number), {})
        report.exported_wrong += sum(
            cells.get(name) != ("" if math.isnan(run) else clock(run))
            for name, run in zip(names, row, strict=True)
        )
    with urllib.request.urlopen(f"{url}/live.json?race=played", timeout=120) as reply:
        shown = {item["code"] for item in orjson.loads(reply.read())["runners"]}
    report.unseen = sum(code not in shown for code, _ in expected(results))


def clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


if __name__ == "__main__":
    by_hand(mats, SETUPS)
