"""Waiting for a condition, which is what tests do instead of waiting for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# How long anything that a test waits for may take. Generous: a loaded machine must not
# reach it, it only ends a test that hangs.
PATIENCE_S = 120.0
POLL_S = 0.02


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that another process or thread does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"Not within {PATIENCE_S:.0f} s."
        time.sleep(POLL_S)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for something that this event loop, or another process, does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"Not within {PATIENCE_S:.0f} s."
        await asyncio.sleep(POLL_S)
