"""The typed dialect `spectate.v1`: JSON objects with a `type`.

Times are in milliseconds since the epoch, distances in metres, speeds in metres per
second, angles in degrees. Unknown values are null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from msgspec import UNSET

from runners.live.encoding.messages import (
    CheerEvent,
    Late,
    PhoneEvent,
    RaceChange,
    RaceEvent,
    Runner,
    RunnerEvent,
    RunnerRemoved,
    SplitEvent,
    StateEvent,
    message_frame,
)
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
    StateCorrected,
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
        event.t, event.lat, event.lng, event.speed, event.heading, event.progress
    )
    if event.uncertainty is None:
        return orjson.dumps((event.code, *row))
    return orjson.dumps((event.code, *row, math.ceil(event.uncertainty)))


def _late(event: LateFixes) -> bytes:
    fixes = [(t, round(lat, 5), round(lng, 5)) for t, lat, lng in event.fixes]
    return message_frame(Late(event.code, fixes)) if fixes else b""


def _nothing(event: FixHeld | StateCorrected) -> bytes:
    return b""


def _split(event: SplitPassed) -> bytes:
    return message_frame(
        SplitEvent(
            event.time,
            event.code,
            event.race,
            event.checkpoint,
            round(event.distance, 1),
            event.at,
            round(event.uncertainty, 1),
            event.pass_number,
            event.corrected,
            event.withdrawn or UNSET,
        )
    )


def _status(event: StatusChanged) -> bytes:
    return message_frame(StateEvent(event.time, event.code, event.status))


def _phone(event: PhoneChanged) -> bytes:
    accuracy = None if event.accuracy is None else round(event.accuracy)
    battery = None if event.battery is None else round(event.battery)
    return message_frame(PhoneEvent(event.time, event.code, accuracy, battery))


def _cheer(event: Cheered) -> bytes:
    return message_frame(CheerEvent(event.time, event.code, event.text))


def _runner(event: RunnerChanged[Runner]) -> bytes:
    if event.change == "removed":
        return message_frame(RunnerRemoved(event.time, event.item["code"]))
    return message_frame(RunnerEvent(event.time, event.change, event.item))


def _race(event: RaceChanged) -> bytes:
    race = RaceChange(slug=event.race, change=event.change)
    return message_frame(RaceEvent(event.time, race))


_ENCODERS: dict[type[Event], Callable[[Any], bytes]] = {
    PositionAccepted: _position,
    LateFixes: _late,
    FixHeld: _nothing,
    StateCorrected: _nothing,
    SplitPassed: _split,
    StatusChanged: _status,
    PhoneChanged: _phone,
    Cheered: _cheer,
    RunnerChanged: _runner,
    RaceChanged: _race,
}
