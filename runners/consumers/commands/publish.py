"""`publish`: positions of the token's runner."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any

from runners.consumers.messages import Publish
from runners.consumers.typed_dialect import Typed
from runners.live.encoding.messages import PublishAck
from runners.positions.fix import Fix
from runners.positions.pipeline import SOCKET, Publication, Receipt
from runners.positions.track import Publisher
from runners.positions.validation import FixError, read_fix
from runners.units.clock import now_ms
from runners.units.errors import CodedError


def publish(typed: Typed, command: Publish) -> Awaitable[None] | None:
    """Publish with the next gathered publications, or return what has to wait."""
    session = typed.session
    publisher, pipeline = session.publisher, session.process.pipeline
    if publisher is None:
        raise CodedError("token.required", "Publishing needs a runner's token.")
    session.limit_fixes(len(command.fixes))
    fixes = [_fix_of(item) for item in command.fixes]
    track = pipeline.ready_track(publisher, now_ms())
    if track is None:
        return _publish_now(typed, command, publisher, fixes)
    done = partial(_published, typed, command)
    pipeline.publish_soon(Publication(publisher, track, fixes, done))
    return None


async def _publish_now(
    typed: Typed,
    command: Publish,
    publisher: Publisher,
    fixes: Sequence[Fix | FixError],
) -> None:
    accept = typed.session.process.pipeline.accept
    _published(typed, command, await accept(publisher, fixes, source=SOCKET))


def _published(typed: Typed, command: Publish, receipt: Receipt | Exception) -> None:
    session = typed.session
    if isinstance(receipt, Exception):
        session.report(receipt, command)
        return
    session.record_refused([(code, detail) for _, code, detail in receipt.rejected])
    if receipt.stored is None:
        session.send_store_unavailable(command)
    else:
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
