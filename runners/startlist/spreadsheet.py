"""Reads start lists as spreadsheets save them, with row numbers."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time
from typing import Any

from tablib import Dataset

COLUMNS = (
    *("bib", "name", "code", "category", "club", "wave", "visibility", "estimate"),
    "mail",
)
REQUIRED = ("bib", "name")
# The column of a Dataset that carries a row's number.
NUMBER = "row"

MAX_BYTES = 5 * 2**20
# The limit of an XLSX file once decompressed.
MAX_UNPACKED_BYTES = 100 * 2**20
MAX_ROWS = 10_000
# Sheets may declare a million empty rows. This many in a row end the list.
MOST_EMPTY = 1_000
DELIMITERS = ";,\t|"
# Spreadsheets interpret cells that start with these as formulas.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

NO_LIST = (
    "This is neither a CSV nor an XLSX file. Save the start list as one of them, and "
    "try again."
)


class StartListError(ValueError):
    """A file that is not a start list. The message explains it to the organiser."""


def read_start_list(content: bytes) -> tuple[Dataset, list[str]]:
    """Read CSV or XLSX; return its rows and the unknown headings.

    The dataset has the column `row`, as a spreadsheet counts, and those of `COLUMNS`
    that the file has; all values are text. Raises StartListError.
    """
    return _table(numbered_rows(content, COLUMNS))


def numbered_rows(
    content: bytes, columns: Sequence[str]
) -> Iterator[tuple[int, Sequence[str]]]:
    """Return the rows of a CSV or XLSX file, numbered from 1, without empty ones.

    `columns` are those that a file needs. Raises StartListError.
    """
    if len(content) > MAX_BYTES:
        raise StartListError(
            f"The file is larger than {MAX_BYTES // 2**20} MB. Keep only the columns "
            f"{', '.join(columns)}, and try again."
        )
    if content.startswith(b"PK\x03\x04"):
        return _filled(_xlsx(content))
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise StartListError(
            "This is an old Excel file (.xls). Save it as .xlsx or CSV, and try again."
        )
    return _filled(_csv(content))


def shielded(text: str) -> str:
    """Return a cell that spreadsheets do not interpret as a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _table(
    numbered: Iterator[tuple[int, Sequence[str]]],
) -> tuple[Dataset, list[str]]:
    _, heads = next(numbered, (0, []))
    headings = [head.lower() for head in heads]
    for column in REQUIRED:
        if column not in headings:
            found = ", ".join(filter(None, heads[:10])) or "nothing"
            raise StartListError(
                f"The first row has no column “{column}”; it has: {found}. Name the "
                f"columns {', '.join(COLUMNS)}; bib and name are needed."
            )
    for column in COLUMNS:
        if headings.count(column) > 1:
            raise StartListError(
                f"There are several columns “{column}”. Keep only one of them."
            )
    places = {c: headings.index(c) for c in COLUMNS if c in headings}
    table = Dataset(headers=[NUMBER, *places])
    for number, cells in numbered:
        if len(table) >= MAX_ROWS:
            raise StartListError(
                f"There are more than {MAX_ROWS:,} rows. Split the file, and import "
                "one part after the other."
            )
        values = [cells[at] if at < len(cells) else "" for at in places.values()]
        table.append([number, *values])
    if not len(table):
        raise StartListError("The file has headings, but no runners below them.")
    return table, [head for head in heads if head and head.lower() not in COLUMNS]


def _filled(rows: Iterable[Sequence[str]]) -> Iterator[tuple[int, Sequence[str]]]:
    empty = 0
    for number, cells in enumerate(rows, start=1):
        if any(cells):
            empty = 0
            yield number, cells
        elif (empty := empty + 1) > MOST_EMPTY:
            return


def _csv(content: bytes) -> Iterator[list[str]]:
    text = _decoded(content)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise StartListError(
                f"Row {reader.line_num} cannot be read: {error}."
            ) from error
        yield [_text(cell) for cell in cells]


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise StartListError(NO_LIST)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Excel's CSV encoding in Western Europe. All but five bytes are valid in it.
        return content.decode("cp1252", errors="replace")


def _xlsx(content: bytes) -> Iterator[list[str]]:
    # Importing it at the top would take a tenth of the start of any command.
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            if sum(part.file_size for part in parts.infolist()) > MAX_UNPACKED_BYTES:
                raise StartListError(
                    "The unpacked file is larger than "
                    f"{MAX_UNPACKED_BYTES // 2**20} MB. "
                    "Save the start list as CSV, and try again."
                )
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        # Some programs write a wrong size of the sheet.
        sheet.reset_dimensions()
        rows = [[_text(cell) for cell in cells] for cells in _bounded(sheet)]
        book.close()
    # The library raises undocumented exceptions for damaged parts.
    except StartListError:
        raise
    except (
        *(zipfile.BadZipFile, InvalidFileException, KeyError, ValueError),
        *(TypeError, IndexError, AttributeError, SyntaxError, OSError, EOFError),
    ) as error:
        raise StartListError(NO_LIST) from error
    return iter(rows)


def _bounded(sheet: Any) -> Iterator[tuple[Any, ...]]:
    """Read no more of a sheet than can be used."""
    empty = 0
    for number, cells in enumerate(sheet.iter_rows(values_only=True)):
        empty = 0 if any(cell is not None for cell in cells) else empty + 1
        if empty > MOST_EMPTY or number > MAX_ROWS + MOST_EMPTY:
            return
        yield cells[:100]


def _text(cell: Any) -> str:
    """Return a cell as text: 17.0 is the bib 17, and white space is normalised."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if isinstance(cell, date | time):
        cell = cell.isoformat()
    text = " ".join(str(cell).split())
    # The prefix that our own export adds to formulas.
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text
