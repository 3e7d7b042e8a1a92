"""A start list of 2,000 rows with 20 faults, as CSV, and the list of the faults.

`python -m tests.admin.start_lists > list.csv` writes it.
"""

from __future__ import annotations

import csv
import io
import sys

ROWS = 2_000
HEADINGS = ["Bib", "Name", "Code", "Category", "Wave", "Visibility"]
# The faulty column and its value, by row number in a spreadsheet.
FAULTS = {
    3: ("bib", ""),
    50: ("bib", "1"),
    101: ("name", ""),
    102: ("name", "x" * 81),
    250: ("bib", "1234567890123"),
    333: ("code", "no spaces"),
    334: ("code", "x" * 41),
    335: ("code", "taken"),
    500: ("wave", "Z"),
    501: ("wave", "C"),
    777: ("visibility", "everyone"),
    778: ("visibility", "publik"),
    900: ("category", "c" * 41),
    1000: ("bib", "998"),
    1200: ("name", "Bell\a"),
    1201: ("code", "ünï"),
    1500: ("bib", ""),
    1777: ("wave", "1"),
    1999: ("name", ""),
    2001: ("bib", "1"),
}
# This row has the same code as row 335. The first of two is not faulty.
FIRST_DUPLICATE = 10


def start_list_csv() -> str:
    """Return the list as CSV."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEADINGS)
    for number in range(1, ROWS + 1):
        row = number + 1
        cells = {
            "bib": str(number),
            "name": f"Runner Ñandú {number}",
            "code": "taken" if row == FIRST_DUPLICATE else "",
            "category": "W40" if number % 2 else "M",
            "wave": "A" if number % 3 else "b",
            "visibility": "",
        }
        if row in FAULTS:
            column, value = FAULTS[row]
            cells[column] = value
        writer.writerow(cells.values())
    return out.getvalue()


if __name__ == "__main__":
    sys.stdout.write(start_list_csv())
