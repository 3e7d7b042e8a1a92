"""`ping`: is answered with its own fields."""

from __future__ import annotations

from typing import Any

import orjson

from runners.consumers.errors import CommandError
from runners.consumers.typed_dialect import Typed
from runners.live.encoding import typed_dialect


async def ping(typed: Typed, command: dict[str, Any]) -> None:
    try:
        typed.outbox.send_event(typed_dialect.pong_frame(command))
    except orjson.JSONEncodeError:
        raise CommandError(
            "message.invalid", "The message is nested too deeply to be sent back."
        ) from None
