"""The codes of errors on a websocket, declared once."""

from __future__ import annotations

from typing import Annotated

from runners.live.encoding.fields import one_of

ErrorCode = Annotated[
    str,
    one_of(
        "follow.forbidden",
        "follow.limit",
        "message.invalid",
        "message.too_big",
        "rate.limited",
        "runner.invalid",
        "runner.unknown",
        "server.error",
        "session.ended",
        "socket.limit",
        "store.unavailable",
        "token.invalid",
        "token.moved",
        "token.required",
        "token.revoked",
        title="ErrorCode",
        description="Of a message or the socket, in both dialects.",
    ),
]
TypedErrorCode = Annotated[
    str,
    one_of(
        "cheer.invalid",
        "cheer.lost",
        "cheer.off",
        "message.unknown",
        "publish.invalid",
        "race.unknown",
        "share.ended",
        "share.expired",
        "share.pin",
        "share.revoked",
        "share.unknown",
        "sos.invalid",
        title="TypedErrorCode",
        description="Of what only `spectate.v1` has.",
    ),
]
FixErrorCode = Annotated[
    str,
    one_of(
        "position.erased",
        "position.future",
        "position.invalid",
        "runner.unknown",
        "sharing.paused",
        "zone.hidden",
        title="FixErrorCode",
        description="Of a single fix, which is not to be sent again.",
    ),
]
# The errors that name when to try again.
RETRIED = ("rate.limited", "store.unavailable", "cheer.lost")
