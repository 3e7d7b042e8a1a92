"""Run a scenario by hand: `python -m tests.faults.NAME --long`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any, Protocol

import orjson

from tests.faults.randomness import use_seed
from tests.servers import KINDS, Server


class Report(Protocol):
    """The findings of a scenario, a dataclass."""

    def faults(self) -> list[str]:
        """Return one sentence for each expectation that was not met."""


def new_parser() -> argparse.ArgumentParser:
    """Return a parser with the options that all scenarios share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="what figures come from")
    parser.add_argument("--seed", type=int, help="the one that a run has printed")
    return parser


def by_hand(scenario: Callable[[Server, bool], Coroutine[Any, Any, Any]]) -> None:
    """Run a scenario against both servers and print a JSON line for each report."""
    parser = new_parser()
    parser.add_argument("--server", choices=KINDS, help="only this one")
    options = parser.parse_args()
    failed = False
    for kind in [options.server] if options.server else KINDS:
        use_seed(options.seed)
        with Server(kind, SPECTATE_OPEN="1") as server:
            report = asyncio.run(scenario(server, options.long))
            server.stop()
            faults: list[str] = report.faults()
            if (at := server.log.find("Traceback")) >= 0:
                start = server.log.rfind("\n", 0, max(0, at - 1)) + 1
                faults.append(f"A traceback:\n{server.log[start : at + 4_000]}")
        line = {"server": kind, "load_average": os.getloadavg()[0], **asdict(report)}
        print(orjson.dumps(line).decode(), flush=True)
        print("\n".join(faults) or "as expected", flush=True)
        failed |= bool(faults)
    sys.exit(failed)
