"""Print the table client × case: `make clients`.

Fails unless each package passes, and clients/README.md has this table.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from clients.conformance.packages import PACKAGES
from clients.conformance.suite import play_cases, table

README = Path(__file__).parents[1] / "README.md"


def main() -> None:
    outcomes = {package: asyncio.run(play_cases(package)) for package in PACKAGES}
    print(table(outcomes))
    problems = [
        f"{package}, {case}:\n{problem}"
        for package, outcome in outcomes.items()
        for case, problem in outcome.items()
        if problem
    ]
    if table(outcomes) not in README.read_text():
        problems.append("clients/README.md does not have this table.")
    sys.exit("\n".join(problems) or 0)


main()
