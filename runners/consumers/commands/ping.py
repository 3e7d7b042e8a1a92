"""`ping`: is answered with its own fields."""

from __future__ import annotations

from typing import Any

import orjson

from runners.consumers.errors import CommandError
from runners.consumers.typed import Typed
from runners.live.encoding import v1


async def ping(typed: Typed, command: dict[str, Any]) -> None:
    try:
        typed.outbox.send_event(v1.pong_frame(command))
    except orjson.JSONEncodeError:
        raise CommandError(
            "message.invalid", "The message is nested too deeply to be sent back."
        ) from None
