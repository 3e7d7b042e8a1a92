"""Calls for help by a typed socket."""

from __future__ import annotations

from typing import Any

from runners import database
from runners.consumers.messages import Sos
from runners.consumers.typed_dialect import Typed
from runners.live.encoding.messages import SosAck
from runners.models import Runner
from runners.notifying.sos import Call, sos_store
from runners.positions.fix import Fix
from runners.positions.validation import FixError, check_fix, fix_from
from runners.units.clock import milliseconds, now_ms
from runners.units.errors import CodedError

# The rate of one socket.
CALLS_PER_S = 1.0
BURST = 20


async def sos(typed: Typed, command: Sos) -> None:
    """Handle an `sos`: stored and queued for all recipients before the ack."""
    session = typed.session
    if session.publisher is None:
        raise CodedError("token.required", "A call for help needs a runner's token.")
    call = _call_of(command)
    session.rates.limit(
        typed.bucket("sos", CALLS_PER_S, BURST),
        1,
        "Too many calls at once. The first ones were received.",
    )
    try:
        stored = await database.read(sos_store, runner=session.publisher.pk, call=call)
    except Runner.DoesNotExist:
        raise CodedError(
            "runner.unknown", "The runner does not exist any more."
        ) from None
    ack = SosAck(
        id=command.id,
        open=stored.fine_at is None and stored.closed_at is None,
        seen=None if stored.seen_at is None else milliseconds(stored.seen_at),
    )
    typed.answer(ack, command)


def _call_of(command: Sos) -> Call:
    """Parse a call. An invalid position does not cause a refusal."""
    battery = command.battery
    if not isinstance(battery, int | float) or not 0 <= battery <= 100:
        battery = None
    now = now_ms()
    return Call(
        key=command.id,
        called=min(command.time, now),
        fix=_fix_of(command.fix, now),
        battery=battery,
        fine=command.fine is True,
    )


def _fix_of(item: Any, now: int) -> Fix | None:
    if not isinstance(item, dict) or type(item.get("t")) is not int:
        return None
    try:
        fix = fix_from(item, min(item["t"], now))
        check_fix(fix, now)
    except FixError:
        return None
    return fix
