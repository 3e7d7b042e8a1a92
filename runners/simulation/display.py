"""The status line of a simulation."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from typing import TextIO

# The time between two lines. On a terminal they replace each other.
TERMINAL_INTERVAL_S = 0.5
FILE_INTERVAL_S = 10.0


@contextlib.asynccontextmanager
async def displayed(out: TextIO, line: Callable[[float], str]) -> AsyncIterator[None]:
    """Show a line while the block runs; `line` gets the seconds since the last one."""
    task = asyncio.create_task(_show(out, line))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if out.isatty():
            out.write("\r\x1b[K")


async def _show(out: TextIO, line: Callable[[float], str]) -> None:
    loop = asyncio.get_running_loop()
    terminal = out.isatty()
    last = loop.time()
    while True:
        await asyncio.sleep(TERMINAL_INTERVAL_S if terminal else FILE_INTERVAL_S)
        now = loop.time()
        text = line(now - last)
        last = now
        if terminal:
            # A wrapped line could not be overwritten.
            out.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
        else:
            out.write(f"{text}\n")
        out.flush()
