"""The lifespan of a serving process: start, daily retention, and shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.db import connection

from runners.live.hub import get_hub
from runners.notifying.notifier import get_notifier
from runners.positions.pipeline import get_pipeline
from runners.positions.retention import Pruned, prune
from runners.serving.admission import get_admission
from runners.serving.garbage_collection import FullCollections
from runners.serving.operator_socket import OperatorSocket
from runners.sharing.access_monitor import get_access_monitor

logger = logging.getLogger(__name__)

# Not at the start, so that a restart just before a race is not slowed down; then daily.
FIRST_PRUNING_S = 3_600
DAY_S = 86_400


async def lifespan(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Handle ASGI's lifespan protocol, which uvicorn supports and Daphne does not."""
    daily = garbage = None
    door = OperatorSocket()
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            get_access_monitor()
            get_admission()
            get_notifier().start()
            await door.open()
            garbage = FullCollections()
        if message["type"] == "lifespan.startup" and settings.SPECTATE_RETENTION_DAYS:
            daily = asyncio.create_task(_prune_daily())
        if message["type"] == "lifespan.shutdown":
            if daily is not None:
                daily.cancel()
            if garbage is not None:
                await garbage.close()
            await door.close()
            await asyncio.to_thread(get_notifier().stop)
            await get_admission().close()
            await get_access_monitor().close()
            await get_pipeline().close()
            await get_hub().close()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def starting_notifier(
    application: Callable[..., Awaitable[None]],
) -> Callable[..., Awaitable[None]]:
    """Start the notifier with the first request, as Daphne has no lifespan."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        get_notifier().start()
        await application(scope, receive, send)

    return answer


async def _prune_daily() -> None:
    """Delete old positions once a day; each process does, and the second finds none."""
    await asyncio.sleep(FIRST_PRUNING_S)
    while True:
        try:
            pruned = await asyncio.to_thread(_prune)
        except Exception:
            logger.exception(
                "Old positions could not be deleted; trying again tomorrow"
            )
        else:
            logger.info("%d positions from before %s deleted", *pruned)
        await asyncio.sleep(DAY_S)


def _prune() -> tuple[int, str]:
    try:
        pruned: Pruned = prune(
            days=settings.SPECTATE_RETENTION_DAYS, keep_line=settings.SPECTATE_KEEP_LINE
        )
        return pruned.deleted, f"{pruned.before:%Y-%m-%d %H:%M} UTC"
    finally:
        connection.close()
