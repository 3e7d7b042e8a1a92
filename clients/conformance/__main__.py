"""Print the table client × case: `python -m clients.conformance`."""

from __future__ import annotations

import asyncio
import sys

from clients.conformance.packages import PACKAGES
from clients.conformance.suite import play_cases, table


def main() -> None:
    outcomes = {package: asyncio.run(play_cases(package)) for package in PACKAGES}
    print(table(outcomes))
    for name, outcome in outcomes.items():
        for case, problem in outcome.items():
            if problem:
                print(f"\n{name}, {case}:\n{problem}")
    sys.exit(any(any(outcome.values()) for outcome in outcomes.values()))


main()
