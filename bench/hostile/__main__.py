"""Measure what hostile connections cost everybody else on a server with one core.

    python -m bench.hostile                 200 connections for 75 s, uvicorn and Daphne
    python -m bench.hostile --server uvicorn --seconds 20 --connections 50 --json

Attackers guess the PINs of share links and a password, leave connections idle and
bodies unfinished, follow a thousand unknown runners in each message, export long
tracks, send websocket pings, and pipeline requests without reading the responses (not
to Daphne, which does not limit these). Each sends its next request as soon as it has
the answer to the last one, and connects again when it is closed. Every ten attackers
have an address of their own.

Meanwhile others poll `/healthz` and `live.json` at fixed times, phones publish, and
spectators follow them. The latency of a poll counts from the time when it was due. The
server runs on core 0, and all clients run on core 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import sys
from dataclasses import asdict

import orjson
import uvloop

from bench.hostile.measuring import Report, measure
from bench.hostile.scene import Scale
from tests.faults.randomness import use_seed
from tests.servers import KINDS, Kind, Server


def lines_of(report: Report) -> str:
    """Describe a run in text."""
    lines = [
        f"{report.server}: {report.connections} hostile connections for "
        f"{report.seconds:.0f} s, {report.server_core} of a core"
    ]
    for path, latency in report.attacked.items():
        calm = report.calm[path]
        lines.append(
            f"  {path}: p50 {calm.p50_ms} to {latency.p50_ms} ms, p99 {calm.p99_ms} to "
            f"{latency.p99_ms} ms, {latency.requests} requests"
        )
    lines += [
        f"  fixes: {report.made} made, {report.acked} acked, {report.stored} stored, "
        f"ack p99 {report.ack_p99_ms} ms",
        f"  spectators with missing positions: {len(report.missing)}",
        f"  RSS: {report.rss_before_mib}, peak {report.rss_peak_mib}, then "
        f"{report.rss_after_mib} MiB",
        f"  stalled connections were open for {report.open_s} s at most",
    ]
    for kind, answers in report.answers.items():
        found = ", ".join(f"{count} x {answer}" for answer, count in answers.items())
        lines.append(f"  {kind}: {found}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hostile")
    parser.add_argument("--server", choices=KINDS, help="only this one")
    parser.add_argument("--seconds", type=float, default=Scale.seconds)
    parser.add_argument("--connections", type=int, default=Scale.connections)
    parser.add_argument("--seed", type=int, help="the one that a run has printed")
    parser.add_argument("--json", action="store_true", help="one line of JSON each")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    scale = Scale(options.connections, options.seconds)
    failed = False
    for kind in [options.server] if options.server else KINDS:
        report, load = run(kind, scale, options.seed)
        line = asdict(report) | {"load_average": load}
        text = orjson.dumps(line).decode() if options.json else lines_of(report)
        print(text, flush=True)
        print("\n".join(report.faults() + report.late()), file=sys.stderr, flush=True)
        failed |= bool(report.faults())
    sys.exit(failed)


def run(kind: Kind, scale: Scale, seed: int | None) -> tuple[Report, float]:
    """Run once, the server on core 0 and everything else on core 1."""
    with contextlib.redirect_stdout(sys.stderr):
        use_seed(seed)
    load = os.getloadavg()[0]
    os.sched_setaffinity(0, {0})
    with Server(kind, SPECTATE_LAG_LIMIT="1000", SPECTATE_FIRST_MESSAGE="10") as server:
        os.sched_setaffinity(0, {1})
        report = uvloop.run(measure(server, scale))
    return report, round(load, 2)


if __name__ == "__main__":
    main()
