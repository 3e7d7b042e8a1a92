"""Load generator for the websocket: `python -m bench.load fanout --help`.

One process with one thread, which should have a core of its own. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
import uvloop

from bench import churn, fanout, idle, race, seed2015
from bench.crowd import Crowd
from bench.listeners import DIALECTS
from bench.plain_crowd import PlainCrowd, SocketIoCrowd
from bench.typed_crowd import TypedCrowd

# Crowds by dialect.
CROWDS: dict[str, type[Crowd]] = {
    "v1": TypedCrowd,
    "seed": PlainCrowd,
    "socketio": SocketIoCrowd,
}


def rate(text: str) -> float | None:
    return None if text == "max" else float(text)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    workloads = parser.add_subparsers(dest="workload", required=True)
    follow = workloads.add_parser(
        "fanout", help="runners publish, spectators follow some of them"
    )
    follow.add_argument("--runners", type=int, default=100)
    follow.add_argument(
        "--sockets", type=int, help="publishers' sockets (a runner each)"
    )
    follow.add_argument("--spectators", type=int, default=100)
    follow.add_argument("--follows", type=int, default=10, help="runners a spectator")
    follow.add_argument(
        "--rate",
        type=rate,
        default=None,
        help="positions a second and runner, latency from the scheduled time; or "
        "`max` (default): closed loop, as fast as the window empties",
    )
    follow.add_argument(
        "--window",
        type=int,
        help="closed loop: deliveries outstanding at most (default: one position of "
        "every runner)",
    )
    follow.add_argument("--warmup", type=float, default=1.0, help="seconds")
    follow.add_argument("--duration", type=float, default=5.0, help="seconds")
    follow.add_argument("--dialect", choices=tuple(DIALECTS), default="seed")
    follow.add_argument("--tick", type=int, default=250, help="v1 spectators, in ms")
    monitor = workloads.add_parser("race", help="everybody watches everybody")
    idle = workloads.add_parser("idle", help="memory of a spectator")
    churn = workloads.add_parser("churn", help="visitors come and go")
    monitor.add_argument("--warmup", type=float, default=3.0, help="seconds")
    idle.add_argument(
        "--settle", type=float, default=4.0, help="seconds until memory is read"
    )
    idle.add_argument(
        "--pinged", type=float, default=0.0, help="seconds until all have had a ping"
    )
    churn.add_argument("--visitors", type=int, default=16, help="at once")
    for workload in (monitor, churn):
        workload.add_argument("--duration", type=float, default=10.0, help="seconds")
    for workload in (monitor, idle, churn):
        workload.add_argument("--runners", type=int, default=200)
        workload.add_argument("--spectators", type=int, default=1000)
        workload.add_argument("--follows", choices=("all", "one"), default="all")
        workload.add_argument("--rate", type=float, default=1.0, help="Hz, a runner")
        workload.add_argument("--tick", type=int, default=1000, help="v1, in ms")
        workload.add_argument("--dialect", choices=tuple(CROWDS), default="v1")
        workload.add_argument("--field", help="v1: the file that bench.field printed")
    seed = workloads.add_parser("seed2015", help="what the client of 2015 does")
    seed.add_argument("--users", type=int, default=100)
    seed.add_argument("--messages", type=int, default=1000)
    seed.add_argument("--seed", type=int, default=2015, help="of the random positions")
    for workload in (follow, monitor, idle, churn, seed):
        workload.add_argument("--url", default="ws://127.0.0.1:8080/")
        workload.add_argument("--pid", type=int, help="the server's, for CPU and RSS")
        workload.add_argument("--first-id", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.workload == "fanout":
        options.sockets = min(options.sockets or options.runners, options.runners)
        options.follows = min(options.follows, options.runners)
        if options.window is None:
            options.window = options.spectators * options.follows
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        result = uvloop.run(run(options))
    except OSError as error:  # Includes TimeoutError.
        sys.exit(f"{options.url}: {error.strerror or error}")
    print(orjson.dumps(asdict(result)).decode())


async def run(options: argparse.Namespace) -> Any:
    """Run a workload and return its result, a dataclass."""
    match options.workload:
        case "fanout":
            dialect = DIALECTS[options.dialect]
            return await fanout.Fanout(options, dialect).run()
        case "seed2015":
            return await seed2015.run(
                options.url,
                pid=options.pid,
                first_id=options.first_id,
                users=options.users,
                messages=options.messages,
                seed=options.seed,
            )
    crowd = CROWDS[options.dialect](options)
    match options.workload:
        case "race":
            return await race.run(crowd)
        case "idle":
            return await idle.run(crowd)
    return await churn.run(crowd)


if __name__ == "__main__":
    main()
