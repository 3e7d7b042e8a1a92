"""The typed dialect `spectate.v1`: JSON objects with a `type`.

Times are in milliseconds since the epoch, distances in metres, speeds in metres per
second, angles in degrees. Unknown values are null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from runners.live.websocket_framing import text_frame

SUBPROTOCOL = "spectate.v1"
# A client that receives nothing for longer has lost its connection.
HEARTBEAT_S = 20
# Larger snapshots are sent in several parts.
SNAPSHOT_PART_BYTES = 256 * 1024
# The ticks that a socket may have.
TICKS_MS = (0, 100, 250, 500, 1000, 2000, 5000)
DEFAULT_TICK_MS = 250


def tick_of(wished: float) -> int:
    """Round a requested tick up to one of `TICKS_MS`. Milliseconds."""
    return next((tick for tick in TICKS_MS if tick >= wished), TICKS_MS[-1])


def message_frame(type_: str, **fields: Any) -> bytes:
    """Encode a message; fields that are None are written as null."""
    return text_frame(orjson.dumps({"type": type_, **fields}))


def split_frame(
    code: str,
    race: str,
    checkpoint: int,
    *,
    time: int,
    distance: float,
    at: int,
    uncertainty: float,
    pass_number: int,
    corrected: bool,
) -> bytes:
    """Encode that a runner passed a checkpoint.

    `time` and `at` are in milliseconds, `distance` in metres, `uncertainty` in seconds.
    """
    return message_frame(
        "event",
        kind="split",
        time=time,
        runner=code,
        race=race,
        checkpoint=checkpoint,
        distance=round(distance, 1),
        at=at,
        uncertainty=round(uncertainty, 1),
        corrected=corrected,
        **{"pass": pass_number},
    )


def pong_frame(ping: Mapping[str, Any]) -> bytes:
    """Encode the reply to a ping, which repeats the ping's fields."""
    return text_frame(orjson.dumps({**ping, "type": "pong"}))


def fix_row(
    t: int,
    lat: float,
    lng: float,
    speed: float | None,
    heading: float | None,
    progress: float | None = None,
    uncertainty: float | None = None,
) -> list[Any]:
    """Return a fix as [t, lat, lng, speed, heading, progress, uncertainty].

    The last is left out where it is unknown. Coordinates have five decimals, which is a
    metre.
    """
    row = [
        t,
        round(lat, 5),
        round(lng, 5),
        None if speed is None else round(speed, 2),
        None if heading is None else round(heading) % 360,
        None if progress is None else round(progress),
    ]
    return row if uncertainty is None else [*row, math.ceil(uncertainty)]


def position_row(code: str, row: Sequence[Any]) -> bytes:
    """Encode a row of a `positions` message, once for all recipients."""
    return orjson.dumps([code, *row])


def positions_frame(rows: Iterable[bytes], merged: int, time: int) -> bytes:
    """Put encoded rows into a `positions` message."""
    return text_frame(
        b'{"type":"positions","time":%d,"merged":%d,"fixes":[%b]}'
        % (time, merged, b",".join(rows))
    )


def late_frame(code: str, fixes: Iterable[tuple[int, float, float]]) -> bytes:
    """Encode late fixes (t, lat, lng), oldest first."""
    return message_frame(
        "late",
        runner=code,
        fixes=[[t, round(lat, 5), round(lng, 5)] for t, lat, lng in fixes],
    )


def snapshot_bodies(
    runners: Iterable[dict[str, Any] | orjson.Fragment],
    races: Iterable[dict[str, Any]],
) -> list[bytes]:
    """Encode a snapshot in parts of at most `SNAPSHOT_PART_BYTES`, if its items allow.

    A runner may be encoded already. `snapshot_frame` completes each part; clients that
    follow at the same time share the parts.
    """
    parts: list[tuple[list[bytes], list[bytes]]] = [([], [])]
    size = 0
    for kind, items in ((0, races), (1, runners)):
        for item in items:
            encoded = orjson.dumps(item)
            if size and size + len(encoded) > SNAPSHOT_PART_BYTES:
                parts.append(([], []))
                size = 0
            parts[-1][kind].append(encoded)
            size += len(encoded) + 1
    return [
        b'{"type":"snapshot","races":[%b],"runners":[%b]'
        % (b",".join(race_items), b",".join(runner_items))
        for race_items, runner_items in parts
    ]


def snapshot_frame(body: bytes, **fields: Any) -> bytes:
    """Complete a part of a snapshot with the fields that differ between sockets."""
    return text_frame(body + b"," + orjson.dumps(fields)[1:])
