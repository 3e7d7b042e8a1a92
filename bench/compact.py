"""Measure the size of `positions` frames in several formats: `python -m bench.compact`.

Prints the bytes per minute that one spectator of a race topic receives, in the present
JSON and in other forms of the same rows. Needs no server: runners move along a line for
a minute.
"""

from __future__ import annotations

import argparse
import random
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]
import orjson

from bench.field import START
from runners.live.encoding import typed_dialect
from runners.live.encoding.rows import fix_row
from runners.units.earth import METRES_PER_DEGREE

Row = list[Any]
DURATION_S = 60


def frames_of(runners: int, rate: float) -> list[tuple[int, list[Row]]]:
    """Return the frames of a minute: the time of each and its rows with their codes."""
    chance = random.Random(2015)  # noqa: S311
    at = [chance.uniform(0, 42_000) for _ in range(runners)]
    pace = [chance.uniform(2.5, 4.5) for _ in range(runners)]
    phase = [chance.randrange(1000) for _ in range(runners)]
    began = 1_790_000_000_000
    frames = []
    for second in range(1, DURATION_S + 1):
        rows = []
        for runner in range(runners):
            if chance.random() >= rate:
                continue
            speed = pace[runner] + chance.gauss(0, 0.2)
            at[runner] += speed / rate
            row = fix_row(
                began + second * 1000 - phase[runner],
                START[0] + at[runner] / METRES_PER_DEGREE + chance.gauss(0, 2e-5),
                START[1] + chance.gauss(0, 3e-5),
                speed,
                chance.gauss(0, 8) % 360,
                at[runner],
            )
            rows.append([f"r{runner + 1}", *row])
        frames.append((began + second * 1000, rows))
    return frames


def as_it_is(time: int, rows: Sequence[Row]) -> bytes:
    return typed_dialect.positions_frame([orjson.dumps(row) for row in rows], 0, time)


def positions_only(time: int, rows: Sequence[Row]) -> bytes:
    return typed_dialect.positions_frame(
        [orjson.dumps(row[:4]) for row in rows], 0, time
    )


def in_columns(time: int, rows: Sequence[Row]) -> list[list[Any]]:
    """Convert rows to columns of small integers.

    Times are relative to the frame's, positions in 1e-5 degrees from the first, speeds
    in centimetres per second.
    """
    first_lat, first_lng = round(rows[0][2] * 1e5), round(rows[0][3] * 1e5)
    return [
        [time, first_lat, first_lng],
        [row[0] for row in rows],
        [time - row[1] for row in rows],
        [round(row[2] * 1e5) - first_lat for row in rows],
        [round(row[3] * 1e5) - first_lng for row in rows],
        [round(row[4] * 100) for row in rows],
        [row[5] for row in rows],
        [row[6] for row in rows],
    ]


def columns_json(time: int, rows: Sequence[Row]) -> bytes:
    return orjson.dumps(in_columns(time, rows))


def rows_msgpack(time: int, rows: Sequence[Row]) -> bytes:
    packed: bytes = msgpack.packb([time, rows], use_single_float=False)
    return packed


def columns_msgpack(time: int, rows: Sequence[Row]) -> bytes:
    packed: bytes = msgpack.packb(in_columns(time, rows))
    return packed


def deflated(frame: bytes) -> int:
    """Return the bytes of a frame deflated separately, so that spectators share it."""
    return len(zlib.compress(frame, 6)) - 6


FORMS: dict[str, Callable[[int, Sequence[Row]], bytes]] = {
    "JSON rows, as it is": as_it_is,
    "JSON rows, places only": positions_only,
    "JSON columns of small numbers": columns_json,
    "msgpack rows": rows_msgpack,
    "msgpack columns of small numbers": columns_msgpack,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.compact", description=__doc__
    )
    parser.add_argument("--runners", type=int, default=500)
    parser.add_argument("--rate", type=float, default=1.0, help="Hz, at most 1")
    options = parser.parse_args()
    frames = frames_of(options.runners, options.rate)
    print("| form | KB a minute | deflated | us to encode | us to deflate |")
    print("|---|---:|---:|---:|---:|")
    for name, encode in FORMS.items():
        began = time.process_time()
        encoded = [encode(*frame) for frame in frames]
        middle = time.process_time()
        small = sum(map(deflated, encoded))
        ended = time.process_time()
        cells = (
            sum(map(len, encoded)) / 1e3,
            small / 1e3,
            (middle - began) / len(frames) * 1e6,
            (ended - middle) / len(frames) * 1e6,
        )
        print(f"| {name} | {' | '.join(f'{cell:,.0f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
