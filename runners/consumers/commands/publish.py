"""`publish`: positions of the token's runner."""

from __future__ import annotations

from typing import Any

from runners.consumers.messages import Publish
from runners.consumers.typed_dialect import Typed
from runners.live.encoding.messages import PublishAck
from runners.positions.fix import Fix
from runners.positions.pipeline import Receipt
from runners.positions.validation import FixError, read_fix
from runners.units.errors import CodedError


async def publish(typed: Typed, command: Publish) -> None:
    session = typed.session
    if session.publisher is None:
        raise CodedError("token.required", "Publishing needs a runner's token.")
    session.limit_fixes(len(command.fixes))
    receipt = await session.process.pipeline.accept(
        session.publisher, [_fix_of(item) for item in command.fixes], source="websocket"
    )
    session.record_refused([(code, detail) for _, code, detail in receipt.rejected])
    if receipt.stored is None:
        session.send_store_unavailable(command)
    else:
        session.count_accepted(receipt.accepted)
        receipt.stored.add_done_callback(
            lambda stored: _acknowledge(typed, command, receipt, stored.result())
        )


def _acknowledge(typed: Typed, command: Publish, receipt: Receipt, lost: int) -> None:
    if lost:
        typed.send_error(
            CodedError("runner.unknown", "The runner does not exist any more."),
            command,
        )
        return
    ack = PublishAck(stored=receipt.accepted, rejected=receipt.rejected)
    typed.answer(ack, command)


def _fix_of(item: Any) -> Fix | FixError:
    """Parse one fix; return the error of a fix that is not valid."""
    if not isinstance(item, dict):
        return FixError("position.invalid", "A fix is an object with t, lat and lng.")
    try:
        return read_fix(item)
    except FixError as error:
        return error
