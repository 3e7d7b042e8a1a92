"""Spreads work on many sockets over a time, in stages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

# Time between two stages.
STAGE_S = 0.1


async def in_stages(count: int, seconds: float) -> AsyncIterator[int]:
    """Yield in stages the number of items that are due by now."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    target = 0
    while target < count:
        # Uses the clock, so that a busy event loop does not prolong the stage.
        share = (loop.time() - start + STAGE_S) / seconds
        target = min(count, round(count * share))
        yield target
        if target < count:
            await asyncio.sleep(STAGE_S)
