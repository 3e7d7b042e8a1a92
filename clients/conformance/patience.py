"""The limit of every wait for a client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

# A loaded machine never reaches it.
PATIENCE_S = 60.0

T = TypeVar("T")


async def patient(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        return await awaitable
