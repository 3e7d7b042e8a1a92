"""The typed dialect `spectate.v1`: JSON objects with a `type`.

Times are in milliseconds since the epoch, distances in metres, speeds in metres per
second, angles in degrees. Unknown values are null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import orjson

from runners.live.encoding.rows import fix_row
from runners.live.events import (
    Cheered,
    Event,
    FixHeld,
    LateFixes,
    PhoneChanged,
    PositionAccepted,
    RaceChanged,
    RunnerChanged,
    SplitPassed,
    StatusChanged,
)
from runners.live.websocket_framing import text_frame

SUBPROTOCOL = "spectate.v1"
# A client that receives nothing for longer has lost its connection.
HEARTBEAT_S = 20
# The ticks that a socket may have.
TICKS_MS = (0, 100, 250, 500, 1000, 2000, 5000)
DEFAULT_TICK_MS = 250


def tick_of(wished: float) -> int:
    """Round a requested tick up to one of `TICKS_MS`. Milliseconds."""
    return next((tick for tick in TICKS_MS if tick >= wished), TICKS_MS[-1])


def message_frame(type_: str, **fields: Any) -> bytes:
    """Encode a message; fields that are None are written as null."""
    return text_frame(msgspec.json.encode({"type": type_, **fields}))


def pong_frame(ping: Mapping[str, Any]) -> bytes:
    """Encode the reply to a ping, which repeats the ping's fields."""
    return text_frame(orjson.dumps({**ping, "type": "pong"}))


def positions_frame(rows: Iterable[bytes], merged: int, time: int) -> bytes:
    """Put encoded rows into a `positions` message."""
    return text_frame(
        b'{"type":"positions","time":%d,"merged":%d,"fixes":[%b]}'
        % (time, merged, b",".join(rows))
    )


def encode(event: Event) -> bytes:
    """Encode an event: a complete frame, or a position as a row; may be empty."""
    return _ENCODERS[type(event)](event)


def _position(event: PositionAccepted) -> bytes:
    if not event.moves:
        return b""
    row = fix_row(
        *(event.t, event.lat, event.lng, event.speed, event.heading),
        *(event.progress, event.uncertainty),
    )
    return orjson.dumps([event.code, *row])


def _late(event: LateFixes) -> bytes:
    fixes = [[t, round(lat, 5), round(lng, 5)] for t, lat, lng in event.fixes]
    return message_frame("late", runner=event.code, fixes=fixes) if fixes else b""


def _held(event: FixHeld) -> bytes:
    return b""


def _split(event: SplitPassed) -> bytes:
    return message_frame(
        "event",
        kind="split",
        time=event.time,
        runner=event.code,
        race=event.race,
        checkpoint=event.checkpoint,
        distance=round(event.distance, 1),
        at=event.at,
        uncertainty=round(event.uncertainty, 1),
        corrected=event.corrected,
        **{"pass": event.pass_number},
    )


def _status(event: StatusChanged) -> bytes:
    return message_frame(
        "event", kind="state", time=event.time, runner=event.code, state=event.status
    )


def _phone(event: PhoneChanged) -> bytes:
    return message_frame(
        "event",
        kind="phone",
        time=event.time,
        runner=event.code,
        accuracy=None if event.accuracy is None else round(event.accuracy),
        battery=None if event.battery is None else round(event.battery),
    )


def _cheer(event: Cheered) -> bytes:
    return message_frame(
        "event", kind="cheer", time=event.time, runner=event.code, text=event.text
    )


def _runner(event: RunnerChanged) -> bytes:
    return message_frame(
        "event",
        kind="runner",
        time=event.time,
        change=event.change,
        runner=event.item if event.change != "removed" else event.item["code"],
    )


def _race(event: RaceChanged) -> bytes:
    race = {"slug": event.race, "change": event.change}
    return message_frame("event", kind="race", time=event.time, race=race)


_ENCODERS: dict[type[Event], Callable[[Any], bytes]] = {
    PositionAccepted: _position,
    LateFixes: _late,
    FixHeld: _held,
    SplitPassed: _split,
    StatusChanged: _status,
    PhoneChanged: _phone,
    Cheered: _cheer,
    RunnerChanged: _runner,
    RaceChanged: _race,
}
