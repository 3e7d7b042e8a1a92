"""Waiting for a condition; tests never wait for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

# The limit of every wait: it ends hanging tests, and a loaded machine never reaches it.
PATIENCE_S = 120.0
POLL_S = 0.02
T = TypeVar("T")


async def within(awaitable: Awaitable[T], seconds: float = PATIENCE_S) -> T:
    """Return what is awaited; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        return await awaitable


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a different process or thread has made a condition true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"Not within {PATIENCE_S:.0f} s."
        time.sleep(POLL_S)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until this event loop, or a different process, makes a condition true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"Not within {PATIENCE_S:.0f} s."
        await asyncio.sleep(POLL_S)
