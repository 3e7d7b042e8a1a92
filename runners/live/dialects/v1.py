"""The typed dialect `spectate.v1`: JSON objects with a `type`.

Times are milliseconds since the epoch, distances metres, speeds metres a second,
angles degrees; unknown is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from runners.live.frames import text_frame

SUBPROTOCOL = "spectate.v1"
# A client that hears nothing for longer has lost its connection. Seconds.
HEARTBEAT = 20
# A snapshot over this size comes in parts. Bytes.
SNAPSHOT_PART = 256 * 1024
# What a socket may ask for as its tick. Milliseconds.
TICKS = (0, 100, 250, 500, 1000, 2000, 5000)
DEFAULT_TICK = 250


def tick_of(wished: float) -> int:
    """Round a wished tick up to one of those we keep. Milliseconds."""
    return next((tick for tick in TICKS if tick >= wished), TICKS[-1])


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
    """Tell that a runner passed a checkpoint."""
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
    """Answer a ping with its own fields."""
    return text_frame(orjson.dumps({**ping, "type": "pong"}))


def fix_row(
    t: int,
    lat: float,
    lng: float,
    speed: float | None,
    heading: float | None,
    progress: float | None = None,
) -> list[Any]:
    """Make the row of a fix: five decimals of a degree are a metre."""
    return [
        t,
        round(lat, 5),
        round(lng, 5),
        None if speed is None else round(speed, 2),
        None if heading is None else round(heading) % 360,
        None if progress is None else round(progress),
    ]


def position_row(code: str, row: Sequence[Any]) -> bytes:
    """Encode a row of a `positions` message, once for all who will get it."""
    return orjson.dumps([code, *row])


def positions_frame(rows: Iterable[bytes], merged: int, time: int) -> bytes:
    """Put encoded rows into a `positions` message."""
    return text_frame(
        b'{"type":"positions","time":%d,"merged":%d,"fixes":[%b]}'
        % (time, merged, b",".join(rows))
    )


def late_frame(code: str, fixes: Iterable[tuple[int, float, float]]) -> bytes:
    """Encode points that arrived late, oldest first."""
    return message_frame(
        "late",
        runner=code,
        fixes=[[t, round(lat, 5), round(lng, 5)] for t, lat, lng in fixes],
    )


def snapshot_bodies(
    runners: Iterable[dict[str, Any] | orjson.Fragment],
    races: Iterable[dict[str, Any]],
) -> list[bytes]:
    """Encode a snapshot in as many parts as its size asks for.

    A runner may be encoded already. Each part is to be finished by `snapshot_frame`,
    so that all who ask at once share it.
    """
    parts: list[tuple[list[bytes], list[bytes]]] = [([], [])]
    size = 0
    for kind, items in ((0, races), (1, runners)):
        for item in items:
            encoded = orjson.dumps(item)
            if size and size + len(encoded) > SNAPSHOT_PART:
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
    """Finish a part of a snapshot with what differs from socket to socket."""
    return text_frame(body + b"," + orjson.dumps(fields)[1:])
