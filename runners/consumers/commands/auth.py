"""`auth`: a token after the handshake."""

from __future__ import annotations

from runners.consumers.messages import Auth
from runners.consumers.typed_dialect import Typed
from runners.live.close_codes import NOT_SIGNED_IN, TOO_FAST
from runners.units.errors import CodedError


async def auth(typed: Typed, command: Auth) -> None:
    try:
        await typed.session.authenticate(command.token)
    except CodedError as error:
        typed.send_error(error, command)
        typed.outbox.close(TOO_FAST if error.code == "socket.limit" else NOT_SIGNED_IN)
    else:
        typed.welcome(command)
