"""`ping`: is answered with its own fields."""

from __future__ import annotations

import orjson

from runners.consumers.messages import Echo
from runners.consumers.typed_dialect import Typed
from runners.live.encoding import typed_dialect
from runners.units.errors import CodedError


async def ping(typed: Typed, command: Echo) -> None:
    try:
        typed.outbox.send_event(typed_dialect.pong_frame(command.fields))
    except orjson.JSONEncodeError:
        raise CodedError(
            "message.invalid", "The message is nested too deeply to be sent back."
        ) from None
