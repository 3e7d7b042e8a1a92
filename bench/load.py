"""Load generator for the websocket: `python -m bench.load fanout --help`.

One process, one thread, meant for a core of its own. It prints one JSON line.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict

import orjson
import uvloop

from bench import seed2015
from bench.fanout import Fanout, Result


def rate(text: str) -> float | None:
    return None if text == "max" else float(text)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    workloads = parser.add_subparsers(dest="workload", required=True)
    fanout = workloads.add_parser(
        "fanout", help="runners publish, spectators follow some of them"
    )
    fanout.add_argument("--runners", type=int, default=100)
    fanout.add_argument(
        "--sockets", type=int, help="publishers' sockets (a runner each)"
    )
    fanout.add_argument("--spectators", type=int, default=100)
    fanout.add_argument("--follows", type=int, default=10, help="runners a spectator")
    fanout.add_argument(
        "--rate",
        type=rate,
        default=None,
        help="positions a second and runner, latency from the scheduled time; or "
        "`max` (default): closed loop, as fast as the window empties",
    )
    fanout.add_argument(
        "--window",
        type=int,
        help="closed loop: deliveries outstanding at most (default: one position of "
        "every runner)",
    )
    fanout.add_argument("--warmup", type=float, default=1.0, help="seconds")
    fanout.add_argument("--duration", type=float, default=5.0, help="seconds")
    fanout.add_argument("--dialect", choices=("seed", "v1"), default="seed")
    fanout.add_argument("--tick", type=int, default=250, help="v1 spectators, in ms")
    seed = workloads.add_parser("seed2015", help="what the client of 2015 does")
    seed.add_argument("--users", type=int, default=100)
    seed.add_argument("--messages", type=int, default=1000)
    seed.add_argument("--seed", type=int, default=2015, help="of the random positions")
    for workload in (fanout, seed):
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
    except OSError as error:  # a TimeoutError too
        sys.exit(f"{options.url}: {error.strerror or error}")
    print(orjson.dumps(asdict(result)).decode())


async def run(options: argparse.Namespace) -> Result | seed2015.Seed2015Result:
    if options.workload == "fanout":
        return await Fanout(options).run()
    return await seed2015.run(
        options.url,
        pid=options.pid,
        first_id=options.first_id,
        users=options.users,
        messages=options.messages,
        seed=options.seed,
    )


if __name__ == "__main__":
    main()
