"""Coroutines and applications that run beside a test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import uvicorn

from runners.serving.http import BoundedHttp


@contextlib.asynccontextmanager
async def in_background(
    *coroutines: Coroutine[Any, Any, object],
) -> AsyncIterator[None]:
    """Run coroutines during a block, then cancel them. Raises what made one fail."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            cancelled = isinstance(end, asyncio.CancelledError)
            if isinstance(end, BaseException) and not cancelled:
                raise end


@contextlib.asynccontextmanager
async def served(application: Any, keep_alive_s: int = 5) -> AsyncIterator[Any]:
    """Serve an application with uvicorn in this process; yield the address."""
    config = uvicorn.Config(
        application,
        http=BoundedHttp,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=keep_alive_s,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            await task
