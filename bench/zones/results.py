"""The results that are kept, and their table in docs/privacy.md."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.servers import ROOT

RESULTS = ROOT / "bench/zones/results.csv"
DOCUMENT = ROOT / "docs/privacy.md"
BEGIN, END = "<!-- python -m bench.zones --write -->\n", "<!-- end -->\n"
FIELDS = ("law", "radius", "homes", "hidden_m", "attacker")
# Name: how many runs the attacker sees. The repeats of two rounds show nothing new.
SEEN = {"1 run": 1, "5 runs": 5, "20 runs": 20, "two rounds": 2}

Row = dict[str, str]


def read(path: Path = RESULTS) -> list[Row]:
    """Return a dict for each attacker of each law and radius; shares in per cent."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def keep(rows: list[Row]) -> None:
    """Replace the results of the same laws and radii, and the table."""
    measured = {(row["law"], row["radius"]) for row in rows}
    rows += [row for row in read() if (row["law"], row["radius"]) not in measured]
    rows.sort(key=lambda row: (row["law"], int(row["radius"])))
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*FIELDS, *SEEN], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + table(rows) + END + rest.partition(END)[2])


def table(rows: list[Row]) -> str:
    """Return the results in Markdown."""
    head = ("law", "radius m", "hidden m", "homes", "attacker", *SEEN)
    lines = [head, ("---", *["---:"] * 3, "---", *["---:"] * len(SEEN))]
    for row in rows:
        first = (row["law"], row["radius"], row["hidden_m"], row["homes"])
        shares = (f"{float(row[name]):.1f}" for name in SEEN)
        lines.append((*first, row["attacker"], *shares))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
