"""Calls for help by a typed socket."""

from __future__ import annotations

from typing import Any

from runners import database
from runners.consumers.errors import CommandError
from runners.consumers.typed_dialect import Typed
from runners.models import Runner
from runners.notifying.sos import Call, sos_store
from runners.positions.fix import Fix
from runners.positions.validation import FixError, check_fix, fix_from
from runners.units.clock import milliseconds, now_ms

# The rate of one socket.
CALLS_PER_S = 1.0
BURST = 20
# Limit of the characters of a call's id, which identifies repeated calls.
ID_LIMIT = 64


async def sos(typed: Typed, command: dict[str, Any]) -> None:
    """Handle an `sos`: stored and queued for all recipients before the ack."""
    session = typed.session
    if session.publisher is None:
        raise CommandError("token.required", "A call for help needs a runner's token.")
    call = _call_of(command)
    session.limit_rate(
        typed.bucket("sos", CALLS_PER_S, BURST),
        1,
        "Too many calls at once. The first ones were received.",
    )
    try:
        stored = await database.read(sos_store, runner=session.publisher.pk, call=call)
    except Runner.DoesNotExist:
        raise CommandError(
            "runner.unknown", "The runner does not exist any more."
        ) from None
    typed.answer(
        "ack",
        command,
        open=stored.fine_at is None and stored.closed_at is None,
        seen=stored.seen_at and milliseconds(stored.seen_at),
    )


def _call_of(command: dict[str, Any]) -> Call:
    """Parse a call. An invalid position does not cause a refusal."""
    key, called = command.get("id"), command.get("time")
    if not isinstance(key, str) or not 1 <= len(key) <= ID_LIMIT or "\0" in key:
        raise CommandError(
            "sos.invalid", f"`id` is a text of 1 to {ID_LIMIT} characters."
        )
    if type(called) is not int or not 0 <= called < 2**53:
        raise CommandError(
            "sos.invalid",
            "`time` must be the time of the call in milliseconds since the epoch.",
        )
    battery = command.get("battery")
    if not isinstance(battery, int | float) or not 0 <= battery <= 100:
        battery = None
    now = now_ms()
    return Call(
        key=key,
        called=min(called, now),
        fix=_fix_of(command.get("fix"), now),
        battery=battery,
        fine=command.get("fine") is True,
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
