"""Follows runners one by one, by the ids in a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeVar

from django.conf import settings

from runners.consumers.session import Session
from runners.live.encoding.ids import RunnerIdError, code_of
from runners.units.errors import CodedError

# Ids, and refusals of them, that are handled before other tasks run.
SLICE = 100

T = TypeVar("T")

_REFUSALS = {
    "runner.unknown": "There is no such runner, or they are not shown to you.",
    "follow.forbidden": "The runner has not accepted your request.",
}


async def follow_runners(
    session: Session, wire_ids: Sequence[object], command: Any
) -> dict[str, int]:
    """Follow runners one by one; map newly followed codes to primary keys.

    Each runner that may not be followed causes an error; the others are followed. A
    process handles one long message at a time, fairly between networks.
    """
    if not wire_ids:
        return {}
    if len(wire_ids) <= SLICE:
        return await _follow(session, wire_ids, command)
    async with session.process.long_follows.turn(session.network):
        return await _follow(session, wire_ids, command)


async def _follow(
    session: Session, wire_ids: Sequence[object], command: Any
) -> dict[str, int]:
    codes: dict[str, None] = {}
    limit = settings.SPECTATE_FOLLOW_LIMIT
    room = limit - len(session.followed)
    async for wire_id in in_slices(wire_ids[:limit]):
        if len(codes) > room:
            break
        try:
            code = code_of(wire_id)
        except RunnerIdError as error:
            session.send_error(
                CodedError("runner.invalid", str(error), runner=plain(wire_id)),
                command,
            )
        else:
            if code not in session.following:
                codes[code] = None
    chosen = list(codes)[:room]
    if len(wire_ids) > limit or len(codes) > room:
        followed = f" {len(chosen):,} of these {len(wire_ids):,} are followed."
        session.send_error(follow_limit(followed), command)
    if not chosen:
        return {}
    generation = session.process.access_monitor.generation
    grants, refused = await session.process.runner_reads.followable(
        session.viewer, chosen, create=settings.SPECTATE_OPEN
    )
    if refused:
        session.rates.count_refused(len(refused))
    async for code, reason in in_slices(refused.items()):
        refusal = CodedError(reason, _REFUSALS[reason], runner=code)
        session.send_error(refusal, command)
    await session.follow_granted(grants, generation)
    return {grant.code: grant.pk for grant in grants}


async def in_slices(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield items, and let other tasks run after each hundred.

    A thousand refusals at once would delay every other client by as long as they take.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % SLICE == 0:
            await asyncio.sleep(0)


def follow_limit(more: str = "") -> CodedError:
    """Return the error of a socket that may follow no more."""
    limit = settings.SPECTATE_FOLLOW_LIMIT
    return CodedError(
        "follow.limit",
        f"A socket may follow at most {limit:,}. Unfollow some first.{more}",
    )


def plain(value: Any) -> Any:
    """Return a value that is short enough to be repeated in an error."""
    if isinstance(value, str):
        return value[:80]
    return value if isinstance(value, int | float | bool) else None
