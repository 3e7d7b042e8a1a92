"""Run a scenario by hand: `python -m tests.faults.NAME --long`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import orjson

from tests.faults.randomness import use_seed
from tests.faults.stores import tracebacks
from tests.servers import KINDS, Kind, Server


def new_parser() -> argparse.ArgumentParser:
    """Return a parser with the options that all scenarios share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="what figures come from")
    parser.add_argument("--seed", type=int, help="the one that a run has printed")
    return parser


def open_server(kind: Kind) -> Server:
    return Server(kind, SPECTATE_OPEN="1")


def by_hand(
    scenario: Callable[[Any, bool], Coroutine[Any, Any, Any]],
    choices: tuple[str, ...] = KINDS,
    started: Callable[[Any], AbstractContextManager[Server]] | None = None,
) -> None:
    """Run a scenario for each choice and print a JSON line and the faults of each.

    A scenario returns a dataclass whose `faults()` has one sentence for each
    expectation that was not met. It gets its choice, or the server that `started`
    returns for it: then a traceback in the log is a fault too.
    """
    parser = new_parser()
    parser.add_argument("--only", choices=choices)
    options = parser.parse_args()
    failed = False
    for choice in [options.only] if options.only else choices:
        use_seed(options.seed)
        before = os.getloadavg()[0]
        with started(choice) if started else contextlib.nullcontext(choice) as given:
            report = asyncio.run(scenario(given, options.long))
            faults: list[str] = report.faults()
            if isinstance(given, Server):
                given.stop()
                faults += tracebacks(given)
        load = {"load_average": [before, os.getloadavg()[0]]}
        print(orjson.dumps({"only": choice} | asdict(report) | load).decode())
        print("\n".join(faults) or "as expected", flush=True)
        failed |= bool(faults)
    sys.exit(failed)
