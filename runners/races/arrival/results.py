"""Reads results: the times at which each runner passed each mat."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from io import StringIO

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# The largest marathons have 60,000 finishers, in about 4 MB.
MAX_BYTES = 20 * 2**20
MAX_ROWS = 200_000
# Limit of columns. A 24-hour race on a track of 2 km has fewer.
MAX_SPLITS = 200
# A finish that is not as far is in kilometres or miles.
MIN_LENGTH_M = 400.0
# Twice the longest race on foot.
MAX_LENGTH_M = 10_000_000.0
# The cells of missing splits, in lower case.
MISSING = frozenset({"", "-", "dnf", "dns", "dsq"})
# h:mm:ss, or m:ss.
CLOCK = re.compile(r"\d+(:[0-5]\d){1,2}(\.\d+)?")
# Half of all splits are not faster than this, in metres per second: others are minutes,
# or h:mm.
FASTEST_MPS = 12.5


class ResultsError(ValueError):
    """A file that is not usable as results; its text gives organisers the reason."""


@dataclass(frozen=True)
class Results:
    """The splits of a race.

    `distances`: metres from the start, ascending, the last one is the finish.
    `times`: seconds since the runner's own start, one row per usable row of the file,
    one column per distance; NaN where a split is missing.
    `rows`: the index of each in the file, from 0, the header not counted.
    `incomplete`: how many of them lack a split. `left_out`: how many rows of the file
    are not usable, because their times do not increase or they have none.
    """

    distances: Floats
    times: Floats
    rows: npt.NDArray[np.int64]
    incomplete: int = 0
    left_out: int = 0

    @property
    def length(self) -> float:
        """Return the distance of the finish in metres."""
        return float(self.distances[-1])


def read_results(source: bytes) -> Results:
    """Parse a CSV file of results; raise ResultsError.

    The header has distances in metres, the last one the finish. A row has a runner's
    time since their own start at each of them, in seconds or as h:mm:ss or m:ss; a cell
    is empty, "-", "DNF", "DNS" or "DSQ" where the split is missing. Cells are separated
    by commas, or by semicolons; then numbers may have a decimal comma.
    """
    lines = _lines(source)
    try:
        _, header = next(lines)
    except StopIteration:
        raise ResultsError("The file is empty.") from None
    distances = _distances(header)
    times = np.array([_times(cells, len(distances), line) for line, cells in lines])
    if not len(times):
        raise ResultsError("The file has a header, but no results.")
    usable = np.array([_is_usable(row) for row in times])
    if not usable.any():
        raise ResultsError("The times of no row increase from split to split.")
    kept = times[usable]
    if np.nanmedian(distances / kept) > FASTEST_MPS:
        raise ResultsError(
            f"Half of the splits are faster than {FASTEST_MPS:g} m/s. Times have to be "
            "in seconds, or h:mm:ss, or m:ss."
        )
    return Results(
        distances,
        kept,
        np.flatnonzero(usable),
        incomplete=int(np.isnan(kept).any(axis=1).sum()),
        left_out=int((~usable).sum()),
    )


def _lines(source: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each line that is not blank."""
    if len(source) > MAX_BYTES:
        raise ResultsError(f"The file is larger than {MAX_BYTES // 2**20} MB.")
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ResultsError("This is not a CSV file in UTF-8.") from None
    if "\0" in text:
        raise ResultsError("This is not a CSV file.")
    if ";" in text.lstrip().partition("\n")[0]:
        text = text.replace(",", ".").replace(";", ",")
    reader = csv.reader(StringIO(text, newline=""))
    try:
        for count, cells in enumerate(reader):
            if count > MAX_ROWS:
                raise ResultsError(f"The file has more than {MAX_ROWS:,} rows.")
            filled = _filled(cells)
            # A runner without any split is a row, unlike a blank line.
            if filled or len(cells) > 1:
                yield reader.line_num, filled
    except csv.Error as error:
        raise ResultsError(f"Line {reader.line_num}: {error}.") from error


def _filled(cells: list[str]) -> list[str]:
    """Return the cells up to the last one that is not empty."""
    filled = [cell.strip() for cell in cells]
    while filled and not filled[-1]:
        filled.pop()
    return filled


def _distances(header: list[str]) -> Floats:
    try:
        distances = np.array([float(cell) for cell in header])
    except ValueError:
        raise ResultsError(
            "The header has to be distances in metres, such as 5000,10000,21097.5; "
            f"it begins with {','.join(header)[:40]!r}."
        ) from None
    if not np.isfinite(distances).all() or (np.diff(distances, prepend=0) <= 0).any():
        raise ResultsError(
            "The distances of the header have to be above 0 and to increase."
        )
    if not 2 <= len(distances) <= MAX_SPLITS:
        raise ResultsError(
            f"The header has to have from 2 to {MAX_SPLITS} distances, "
            "the last one the finish."
        )
    if distances[-1] < MIN_LENGTH_M:
        raise ResultsError(
            f"The race is {distances[-1]:g} m long. The distances of the header have "
            "to be in metres."
        )
    if distances[-1] > MAX_LENGTH_M:
        raise ResultsError(f"The race is longer than {MAX_LENGTH_M / 1000:,.0f} km.")
    return distances


def _times(cells: list[str], count: int, line: int) -> list[float]:
    """Return the times of a line, NaN where a split is missing."""
    if len(cells) > count:
        raise ResultsError(
            f"Line {line} has {len(cells)} cells, the header has {count}."
        )
    try:
        times = [_seconds(cell) for cell in cells]
    except ValueError:
        raise ResultsError(
            f"Line {line}: a split has to be a number of seconds, or h:mm:ss, or empty "
            f"where it is missing; the line is {','.join(cells)[:40]!r}."
        ) from None
    finite = [time if math.isfinite(time) else math.nan for time in times]
    return finite + [math.nan] * (count - len(cells))


def _seconds(cell: str) -> float:
    """Return the seconds of a cell, NaN if it is missing; raise ValueError."""
    if cell.lower() in MISSING:
        return math.nan
    if CLOCK.fullmatch(cell):
        return reduce(lambda time, part: 60 * time + float(part), cell.split(":"), 0.0)
    return float(cell)


def _is_usable(times: Floats) -> bool:
    known = times[~np.isnan(times)]
    return bool(known.size and (np.diff(known, prepend=0) > 0).all())
