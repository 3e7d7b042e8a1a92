"""Hold our server against the textbook consumer: `make bench`.

Each server is started alone, on core 0, and the load generator on core 1; nothing
else should run meanwhile. The table goes to bench/RESULTS.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from tests.servers import clean_environment, free_port, migrate

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench/RESULTS.md"
PACKAGES = ("channels", "daphne", "Django", "orjson", "picows", "uvicorn", "uvloop")
SERVER_CORE, GENERATOR_CORE = "0", "1"
START_SECONDS = 30

UVICORN = (
    "uvicorn {app} --host 127.0.0.1 --port {port} --ws {ws} "
    "--ws-per-message-deflate false --no-access-log --log-level warning"
)
DAPHNE = "daphne -b 127.0.0.1 -p {port} -v 0 {app}"
OURS = "spectate.asgi:application"
TEXTBOOK = "bench.textbook:application"


@dataclass(frozen=True)
class Contender:
    """A server to measure."""

    name: str
    command: str
    # Its factor over this one is what counts.
    baseline: str | None = None

    @property
    def records(self) -> bool:
        return self.baseline is not None


CONTENDERS = (
    Contender(
        "Spectate, uvicorn",
        UVICORN.format(app=OURS, port="{port}", ws="runners.live.server:FrameProtocol"),
        baseline="textbook, uvicorn",
    ),
    Contender(
        "Spectate, Daphne",
        DAPHNE.format(app=OURS, port="{port}"),
        baseline="textbook, Daphne",
    ),
    Contender(
        "textbook, uvicorn", UVICORN.format(app=TEXTBOOK, port="{port}", ws="auto")
    ),
    Contender("textbook, Daphne", DAPHNE.format(app=TEXTBOOK, port="{port}")),
)


@dataclass
class Workload:
    """What the generator is told to do, and to which servers."""

    title: str
    arguments: str
    contenders: Sequence[Contender] = CONTENDERS
    runs: int = 3
    # By contender, what the generator said, one a run.
    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def workloads(short: bool) -> list[Workload]:
    fanout = "fanout --runners 100 --spectators 100 --follows 10"
    if short:
        return [
            Workload(
                "Fan-out, closed loop", f"{fanout} --warmup 0.5 --duration 2", runs=1
            )
        ]
    ours, uvicorn_only = CONTENDERS[:2], CONTENDERS[:1]
    return [
        Workload("Fan-out, closed loop", f"{fanout} --duration 8"),
        Workload(
            "Fan-out to 500 spectators, closed loop",
            "fanout --runners 100 --spectators 500 --follows 10 --duration 8",
            uvicorn_only,
        ),
        Workload(
            "Fan-out to 1,000 spectators, closed loop",
            "fanout --runners 100 --spectators 1000 --follows 10 --duration 8",
            uvicorn_only,
        ),
        Workload("Latency at 1 Hz a runner, open loop", f"{fanout} --rate 1", runs=1),
        Workload(
            "Latency at 40 Hz a runner, open loop", f"{fanout} --rate 40", ours, runs=1
        ),
        Workload(
            "Typed dialect, one frame a tick of 250 ms, 40 Hz a runner",
            f"{fanout} --rate 40 --dialect v1",
            ours,
            runs=1,
        ),
        Workload("The 2015 client", "seed2015", runs=1),
    ]


@contextlib.contextmanager
def serving(contender: Contender, database: Path) -> Iterator[tuple[int, int]]:
    """Start the server on its core; give its port and process id."""
    port = free_port()
    command = contender.command.format(port=port).split()
    with (database.parent / "log").open("ab") as log:
        process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, sys.executable, "-m", *command],
            cwd=ROOT,
            env=clean_environment(
                DATABASE_URL=f"sqlite:///{database}",
                SECRET_KEY="a secret of the benchmark, which nobody else uses",
                SPECTATE_OPEN="1",
                SPECTATE_OPEN_IN_PRODUCTION="1",
            ),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                log_text = (database.parent / "log").read_text()
                sys.exit(f"{contender.name} did not start:\n{log_text}")
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def measure(contender: Contender, workload: Workload) -> dict[str, Any]:
    """Run the workload once against a new server with an empty database."""
    with tempfile.TemporaryDirectory(prefix="spectate-bench-") as folder:
        database = Path(folder) / "db.sqlite3"
        if contender.records:
            migrate(f"sqlite:///{database}")
        before = round(os.getloadavg()[0], 2)
        with serving(contender, database) as (port, pid):
            time.sleep(0.5)
            done = subprocess.run(
                [
                    *("taskset", "-c", GENERATOR_CORE, sys.executable, "-m"),
                    *("bench.load", *workload.arguments.split()),
                    *("--url", f"ws://127.0.0.1:{port}/", "--pid", str(pid)),
                ],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            sys.exit(f"{contender.name}, {workload.title}: {done.stderr}")
        result: dict[str, Any] = {"server": contender.name, "load_average": before}
        result |= orjson.loads(done.stdout)
        if contender.records:
            with contextlib.closing(sqlite3.connect(database)) as connection:
                (result["stored"],) = connection.execute(
                    "SELECT count(*) FROM runners_position"
                ).fetchone()
    return result


def machine() -> list[str]:
    """Describe where and on what this ran, a line each."""
    model = "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    commit = subprocess.run(
        ["git", "log", "-1", "--format=%h"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return [
        f"{datetime.datetime.now(datetime.UTC):%d %B %Y, %H:%M} UTC, commit {commit}",
        f"{os.cpu_count()} cores, {model}, Linux {platform.release()}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    ]


def middle(results: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [result[key] for result in results if result.get(key) is not None]
    return median(values) if values else None


def shown(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def factor(workload: Workload, contender: Contender, key: str) -> str:
    """Format the median of our factors over the baseline, run by run.

    What else the machine did meanwhile hit both of a run alike, or nearly so.
    """
    if contender.baseline not in workload.results:
        return ""
    factors = [
        ours[key] / theirs[key]
        for ours, theirs in zip(
            workload.results[contender.name],
            workload.results[contender.baseline],
            strict=True,
        )
        if ours[key] and theirs[key]
    ]
    return f"{median(factors):.1f} x" if factors else ""


def stored_share(results: Sequence[dict[str, Any]]) -> str:
    published = sum(result["published_in_all"] for result in results)
    return f"{sum(result['stored'] for result in results) / published:.1%}"


def table(workload: Workload) -> list[str]:
    """Format the medians of a workload's runs."""
    seed2015 = workload.arguments.startswith("seed2015")
    columns = (
        ["seconds", "expected", "received", "lost", "twice or out of order"]
        if seed2015
        else ["deliveries/s", "factor", "per server CPU s", "factor"]
        + (["p50 ms", "p99 ms"] if "--rate" in workload.arguments else [])
        + ["expected", "lost", "out of order", "RSS MiB", "stored"]
    )
    lines = [
        f"| server | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for contender in workload.contenders:
        results = workload.results[contender.name]
        lost = sum(result["lost"] for result in results)
        disordered = sum(
            result["disordered"] + result.get("duplicates", 0) for result in results
        )
        expected = shown(sum(result["expected"] for result in results))
        if seed2015:
            cells = [
                shown(middle(results, "seconds"), 2),
                expected,
                shown(sum(result["received"] for result in results)),
                shown(lost),
                shown(disordered),
            ]
        else:
            cells = [
                shown(middle(results, "deliveries_per_s")),
                factor(workload, contender, "deliveries_per_s"),
                shown(middle(results, "deliveries_per_cpu_s")),
                factor(workload, contender, "deliveries_per_cpu_s"),
            ]
            if "--rate" in workload.arguments:
                cells += [
                    shown(middle(results, "p50_ms"), 1),
                    shown(middle(results, "p99_ms"), 1),
                ]
            cells += [
                expected,
                shown(lost),
                shown(disordered),
                shown(middle(results, "rss_mb")),
                stored_share(results) if contender.records else "",
            ]
        lines.append(f"| {contender.name} | {' | '.join(cells)} |")
    return lines


def report(done: Sequence[Workload]) -> str:
    lines = ["# Results", "", "How to read this: README.md.", ""]
    lines += [f"- {line}" for line in machine()]
    for workload in done:
        lines += ["", f"## {workload.title}", ""]
        runs = "one run" if workload.runs == 1 else f"medians of {workload.runs} runs"
        lines += [f"`{workload.arguments}`, {runs}", ""]
        lines += table(workload)
    lines += ["", "## Commands", "", "```"]
    for contender in CONTENDERS:
        lines.append(f"# {contender.name}")
        lines.append(
            f"taskset -c {SERVER_CORE} python -m " + contender.command.format(port=8080)
        )
    lines += ["# load", f"taskset -c {GENERATOR_CORE} python -m bench.load WORKLOAD \\"]
    lines += ["    --url ws://127.0.0.1:8080/ --pid PID", "```", ""]
    lines += [
        "Environment of Spectate: `SPECTATE_OPEN=1 SPECTATE_OPEN_IN_PRODUCTION=1`,"
    ]
    lines += ["a `SECRET_KEY`, and `DATABASE_URL` a new SQLite file for each run.", ""]
    lines += ["## Raw output", "", "```"]
    lines += [
        orjson.dumps(result).decode()
        for workload in done
        for results in workload.results.values()
        for result in results
    ]
    return "\n".join([*lines, "```", ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--short",
        action="store_true",
        help="one short run, under a minute, printed and not kept; fails if anything "
        "is lost",
    )
    options = parser.parse_args(arguments)
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        sys.exit("The benchmark needs two cores and the taskset of util-linux.")
    done = workloads(options.short)
    for workload in done:
        print(f"\n{workload.title}", flush=True)
        for _ in range(workload.runs):
            for contender in workload.contenders:
                result = measure(contender, workload)
                workload.results.setdefault(contender.name, []).append(result)
                print(
                    f"  {contender.name:18} {result['deliveries_per_s']:>10,.0f} "
                    f"deliveries/s, {result['lost']} lost",
                    flush=True,
                )
        print("\n".join(["", *table(workload)]), flush=True)
    if not options.short:
        RESULTS.write_text(report(done))
        print(f"\nWritten to {RESULTS.relative_to(ROOT)}")
    if any(
        result["lost"] or result["disordered"]
        for workload in done
        for results in workload.results.values()
        for result in results
    ):
        sys.exit("Deliveries were lost or out of order.")


if __name__ == "__main__":
    main()
