"""`cheer`: a short text for a runner."""

from __future__ import annotations

import logging

from runners import database
from runners.consumers.messages import Cheer
from runners.consumers.typed_dialect import Typed
from runners.live.encoding.ids import code_of
from runners.live.encoding.messages import CheerAck
from runners.subscriptions import cheering
from runners.subscriptions.cheering import cheers_for
from runners.units.errors import CodedError

logger = logging.getLogger(__name__)

# The rate of one socket.
SOCKET_CHEERS_PER_S = 1 / 5
SOCKET_BURST = 3
# When to retry after the layer was unavailable.
LAYER_RETRY_MS = 2_000


async def cheer(typed: Typed, command: Cheer) -> None:
    """Handle a `cheer`; raises `CodedError`."""
    session = typed.session
    code = code_of(command.runner)
    try:
        text = cheering.cheer_text(command.text)
        session.rates.limit(
            typed.bucket("cheer", SOCKET_CHEERS_PER_S, SOCKET_BURST),
            1,
            "Too many cheers. Wait a moment and try again.",
        )
        pk = await database.read(cheering.cheered_runner, session.viewer, code)
        session.rates.limit(
            cheering.sender_limit(session.viewer, session.address, pk),
            1,
            "Too many cheers for this runner from you. Wait a moment.",
        )
        session.rates.limit(
            cheers_for.of(pk), 1, "This runner gets too many cheers. Try again later."
        )
    except CodedError as error:
        error.fields["runner"] = code
        raise
    try:
        await cheering.cheer(session.process.hub, runner=pk, code=code, text=text)
    except Exception as error:
        logger.warning("The channel layer did not accept a cheer: %r", error)
        raise CodedError(
            "cheer.lost",
            "The cheer may have reached nobody. Try again.",
            after=LAYER_RETRY_MS,
        ) from None
    typed.answer(CheerAck(), command)
