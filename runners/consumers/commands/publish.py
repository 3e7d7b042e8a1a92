"""`publish`: positions of the token's runner."""

from __future__ import annotations

from typing import Any

from runners.consumers.commands.fields import fix_of
from runners.consumers.errors import CommandError
from runners.consumers.typed_dialect import Typed
from runners.positions.pipeline import Receipt

# Limit of the fixes in one `publish`.
PUBLISH_LIMIT = 500


async def publish(typed: Typed, command: dict[str, Any]) -> None:
    session = typed.session
    if session.publisher is None:
        raise CommandError("token.required", "Publishing needs a runner's token.")
    items = command.get("fixes")
    if not isinstance(items, list) or not 1 <= len(items) <= PUBLISH_LIMIT:
        raise CommandError(
            "publish.invalid", f"`fixes` is a list of 1 to {PUBLISH_LIMIT} fixes."
        )
    session.limit_fixes(len(items))
    receipt = await session.process.pipeline.accept(
        session.publisher, [fix_of(item) for item in items], source="websocket"
    )
    session.record_refused([(code, detail) for _, code, detail in receipt.rejected])
    if receipt.stored is None:
        session.send_store_unavailable(command)
    else:
        receipt.stored.add_done_callback(
            lambda stored: _acknowledge(typed, command, receipt, stored.result())
        )


def _acknowledge(
    typed: Typed, command: dict[str, Any], receipt: Receipt, lost: int
) -> None:
    if lost:
        typed.send_error(
            CommandError("runner.unknown", "The runner does not exist any more."),
            command,
        )
        return
    typed.answer(
        "ack",
        command,
        stored=receipt.accepted,
        rejected=[[index, code] for index, code, _ in receipt.rejected],
    )
