"""Deletes old positions and mail addresses once a day."""

from __future__ import annotations

import asyncio
import logging

from django.db import connection

from runners.positions.retention import prune_as_set

logger = logging.getLogger(__name__)

# The first run is not at the start, to keep a restart just before a race fast. Then
# daily.
FIRST_PRUNING_S = 3_600
DAY_S = 86_400


class DailyPruning:
    """Prunes while serving. Of several processes, the first one finds all rows."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start pruning; positions stay without a limit in the settings."""
        self._task = asyncio.create_task(self._prune_daily())

    async def close(self) -> None:
        """Stop pruning."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _prune_daily(self) -> None:
        await asyncio.sleep(FIRST_PRUNING_S)
        while True:
            try:
                pruned = await asyncio.to_thread(_prune)
            except Exception:
                logger.exception(
                    "Old positions could not be deleted; trying again tomorrow"
                )
            else:
                for line in pruned:
                    logger.info("%s", line)
            await asyncio.sleep(DAY_S)


def _prune() -> list[str]:
    try:
        return list(map(str, prune_as_set()))
    finally:
        connection.close()
