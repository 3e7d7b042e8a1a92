"""Compare Spectate's servers with others: `make bench`.

Each server is started alone, on core 0, and the load generator on core 1. Nothing else
should run. Tables and raw output go to bench/RESULTS.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import orjson
import psycopg

from bench.contenders import (
    CONTENDERS,
    GENERATOR_CORE,
    SERVER_CORE,
    Contender,
    Services,
    checked_out,
    node,
    serving,
)
from bench.workloads import (
    STEP,
    Load,
    Result,
    Workload,
    everything,
    keeps_up,
    short,
)
from tests.servers import ROOT

RESULTS = ROOT / "bench/RESULTS.md"
PACKAGES = ("channels", "daphne", "Django", "orjson", "picows", "uvicorn", "uvloop")
# Runs in the search for the greatest number of spectators of a server.
PROBES = 6


def measure(load: Load, arguments: str, services: Services) -> Result:
    """Run the load once against a new server with an empty database."""
    contender = load.contender
    words = arguments.split()
    runners = int(words[words.index("--runners") + 1]) if "--runners" in words else 200
    with tempfile.TemporaryDirectory(prefix="spectate-bench-") as name:
        folder = Path(name)
        before = round(os.getloadavg()[0], 2)
        with serving(contender, folder, services, runners, open_=load.open) as server:
            # The typed dialect needs rights, so these servers do not run in open mode.
            if load.open and words[0] != "seed2015" and "--dialect" not in words:
                words += ["--dialect", contender.dialect]
            if server.field.exists():
                words += ["--field", str(server.field)]
            done = subprocess.run(
                [
                    *("taskset", "-c", GENERATOR_CORE, sys.executable, "-m"),
                    *("bench.load", *words),
                    *("--url", server.url, "--pid", str(server.pid)),
                ],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            log = (folder / "log").read_text()[-2_000:]
            raise MeasuringFailed(f"{load.title}: {done.stderr[-2_000:]}\n{log}")
        result: Result = {"server": load.title, "load_average": before}
        result |= orjson.loads(done.stdout)
        if contender.ours:
            result["stored"] = stored_in(server.database_url)
    return result


class MeasuringFailed(Exception):
    """The generator failed. The message is its output."""


def stored_in(database_url: str) -> int:
    """Count the positions in the database of a stopped server."""
    query = "SELECT count(*) FROM runners_position"
    if database_url.startswith("sqlite"):
        path = database_url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            found = connection.execute(query).fetchone()
    else:
        with psycopg.connect(database_url) as postgres:
            found = postgres.execute(query).fetchone()
    return int(found[0])


def search(load: Load, services: Services) -> Result:
    """Return the run with the most spectators that the server keeps up with."""
    assert load.search_from is not None
    spectators, best, kept_up = float(load.search_from), None, None
    for _ in range(PROBES):
        arguments = f"{load.arguments} --spectators {round(spectators)}"
        try:
            result = measure(load, arguments, services)
            good = keeps_up(result)
        except MeasuringFailed as error:
            # Too many to connect and follow at all.
            print(f"    {str(error).splitlines()[0]}", flush=True)
            good = False
        else:
            print(f"    {line_of(result)}", flush=True)
            if good or best is None:
                best = result
        if kept_up is not None and kept_up != good:
            break
        kept_up = good
        spectators = spectators * STEP if good else spectators / STEP
    if best is None:
        raise MeasuringFailed(f"{load.title}: no number of spectators was right")
    return best


def line_of(result: Result) -> str:
    """Summarise a run in one line."""
    keys = (
        *("spectators", "deliveries_per_cpu_s", "seconds", "server_core", "p99_ms"),
        *("kib_a_socket_reached", "cpu_a_visit_us", "lost"),
    )
    found = ", ".join(
        f"{key} {result[key]}" for key in keys if result.get(key) is not None
    )
    return f"{result['server']}: {found}"


def restart(quick: bool) -> list[str]:
    """Restart two workers in turn under load, as the tests do, and return the report.

    On both cores, because this compares no servers and each worker needs a core.
    """
    form = [] if quick else ["--long"]
    return output_of_script("tests.faults.restart", "--only", "workers", *form)


def hostile(quick: bool) -> list[str]:
    """Attack each of our servers, which has a core for itself; return the report."""
    form = ["--server=uvicorn", "--seconds=10"] if quick else []
    return output_of_script("bench.hostile", *form)


def zones(quick: bool) -> list[str]:
    """Attack privacy zones; return the report."""
    return output_of_script("bench.zones", *(["--homes=20"] if quick else []))


def output_of_script(*arguments: str) -> list[str]:
    """Run a module on both cores and return the lines of its output."""
    done = subprocess.run(
        [
            *("taskset", "-c", f"{SERVER_CORE},{GENERATOR_CORE}"),
            *(sys.executable, "-m", *arguments),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return (done.stdout or done.stderr[-2_000:]).splitlines()


# Reports that are not tables of servers, by name: their titles, and what makes them.
SCRIPTS = {
    "restart": ("Restart of two workers in turn", restart),
    "hostile": ("200 hostile connections", hostile),
    "zones": ("Attacks on privacy zones", zones),
}


def machine() -> list[str]:
    """Return lines that describe the machine and the versions."""
    model = "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    commit = output_of("git", "log", "-1", "--format=%h")
    lock = orjson.loads((ROOT / "bench/package-lock.json").read_bytes())["packages"]
    peers = ", ".join(
        f"{name} {lock[f'node_modules/{name}']['version']}"
        for name in ("ws", "socket.io")
    )
    return [
        f"{datetime.datetime.now(datetime.UTC):%d %B %Y, %H:%M} UTC, commit {commit}",
        f"{os.cpu_count()} cores, {model}, Linux {platform.release()}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        f"Node.js {output_of(node(), '--version')}, {peers}",
    ]


def output_of(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def report(done: Sequence[Workload], texts: Mapping[str, Sequence[str]]) -> str:
    lines = ["# Results", "", "How to read this: README.md.", ""]
    lines += [f"- {line}" for line in machine()]
    for workload in done:
        lines += ["", f"## {workload.title}", "", workload.description, ""]
        lines += [*workload.table(), ""]
        arguments = dict.fromkeys(
            f"`{load.arguments}`, {load.runs} run{'s' if load.runs > 1 else ''}"
            for load in workload.loads
        )
        lines += [f"- {line}" for line in arguments]
    for name, text in texts.items():
        lines += ["", f"## {SCRIPTS[name][0]}", "", "```", *text, "```"]
    lines += ["", "## Commands", "", "```"]
    for contender in CONTENDERS:
        lines += [f"# {contender.name}", command_of(contender)]
    lines += [
        "# load",
        f"taskset -c {GENERATOR_CORE} python -m bench.load WORKLOAD \\",
        "    --url ws://127.0.0.1:8080/ --pid PID",
        "```",
        "",
        "Ours has a `SECRET_KEY` and a new database for each run; in the seed dialect "
        "also `SPECTATE_OPEN=1`",
        "and `SPECTATE_OPEN_IN_PRODUCTION=1`.",
        "",
        "## Raw output",
        "",
        "```",
    ]
    return "\n".join([*lines, *raw(done), "```", ""])


def raw(done: Sequence[Workload]) -> list[str]:
    return [
        orjson.dumps(result).decode()
        for workload in done
        for results in workload.results.values()
        for result in results
    ]


def command_of(contender: Contender) -> str:
    settings = "".join(f"{k}={v} " for k, v in contender.env.items())
    if contender.shared:
        settings += "REDIS_URL=… DATABASE_URL=postgres://… "
    command = contender.command.format(port=8080)
    return f"{settings}taskset -c {SERVER_CORE} {command}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [workload.name for workload in everything(True)] + [*SCRIPTS]
    parser.add_argument(
        "workloads",
        nargs="*",
        metavar="WORKLOAD",
        help=f"only these, printed and not kept: {', '.join(names)}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="shorter runs without searches; no zones",
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="one short run, under a minute, printed and not kept; fails if anything "
        "is lost",
    )
    parser.add_argument(
        "--compare",
        metavar="COMMIT",
        help="measure our servers beside those of a commit, in turn, and print the "
        "ratio of each figure; not kept",
    )
    options = parser.parse_args(arguments)
    if wrong := set(options.workloads) - set(names):
        parser.error(f"there is no {', '.join(wrong)}, only {', '.join(names)}")
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        sys.exit("The benchmark needs two cores and the taskset of util-linux.")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Redis, PostgreSQL and all other processes stay off the server's core.
    os.sched_setaffinity(0, {int(GENERATOR_CORE)})
    # Attacks on zones take minutes even in their quick form.
    wanted = options.workloads or [
        n for n in names if n != "zones" or not options.quick
    ]
    done = [w for w in everything(options.quick) if w.name in wanted]
    if options.short:
        done, wanted = short(), ["short"]
    failures = []
    with contextlib.ExitStack() as stack:
        if options.compare:
            root = stack.enter_context(checked_out(options.compare))
            done = [workload.compared(options.compare, root) for workload in done]
        services = stack.enter_context(contextlib.closing(Services()))
        for workload in done:
            print(f"\n{workload.title}", flush=True)
            started = time.monotonic()
            failures += go(workload, services)
            seconds = f"({time.monotonic() - started:.0f} s)"
            print("\n".join(["", *workload.table(), seconds]), flush=True)
    texts = {}
    for name, (title, script) in SCRIPTS.items():
        if name in wanted and not options.compare:
            started = time.monotonic()
            texts[name] = script(options.quick)
            seconds = f"({time.monotonic() - started:.0f} s)"
            print("\n".join(["", title, *texts[name], seconds]), flush=True)
    if options.workloads or options.compare:
        print("\n".join(raw(done)))
    elif not options.short:
        RESULTS.write_text(report(done, texts))
        print(f"\nWritten to {RESULTS.relative_to(ROOT)}")
    if failures:
        sys.exit("\n".join(failures))


def go(workload: Workload, services: Services) -> list[str]:
    """Run the loads of a workload in turn and return those that failed."""
    failures = []
    for turn in range(max(load.runs for load in workload.loads)):
        for load in workload.loads:
            if turn >= load.runs:
                continue
            try:
                if load.search_from is None:
                    result = measure(load, load.arguments, services)
                else:
                    result = search(load, services)
            except MeasuringFailed as error:
                failures.append(str(error))
                print(f"  {error}", flush=True)
                continue
            workload.results.setdefault(load.title, []).append(result)
            print(f"  {line_of(result)}", flush=True)
            if load.contender.ours and (result.get("lost") or result.get("disordered")):
                failures.append(f"{load.title}: lost or out of order")
    return failures


if __name__ == "__main__":
    main()
