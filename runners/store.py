"""Where async code reaches the database: a few threads of its own, with a time-out.

Not Django's thread-sensitive thread, in which one slow query delays every socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import Error as DatabaseError
from django.db import connection

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
# How long a caller waits. Seconds.
TIMEOUT = 5.0

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
# Rights are looked at whatever else is going on.
_rights_pool = ThreadPoolExecutor(1, thread_name_prefix="rights")


class StoreUnavailable(Exception):
    """The database failed, or did not answer in time."""


async def read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that uses the ORM; raises `StoreUnavailable`.

    Small writes are welcome too (creating a runner in open mode); positions go
    through the recorder.
    """
    return await _call(_pool, partial(function, *args, **kwargs))


async def read_rights(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the same in the thread that is kept for rights."""
    return await _call(_rights_pool, partial(function, *args, **kwargs))


async def _call(pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    call = asyncio.get_running_loop().run_in_executor(pool, _in_thread, function)
    try:
        return await asyncio.wait_for(call, TIMEOUT)
    except (DatabaseError, TimeoutError) as error:
        logger.warning("The database did not answer: %r", error)
        raise StoreUnavailable(str(error)) from error


def _in_thread(function: Callable[[], T]) -> T:
    prepare_connection()
    try:
        return function()
    except DatabaseError:
        connection.close()
        raise


def prepare_connection() -> None:
    """Make this thread's connection fit for a thread that no request ever ends."""
    # CONN_MAX_AGE is for requests, whose threads may never come back. These threads
    # stay, and opening a connection costs more than most of what they ask it.
    connection.close_at = None
    connection.health_check_enabled = True  # type: ignore[attr-defined]
    connection.close_if_unusable_or_obsolete()
    # With DEBUG on, Django writes out each statement with its values and keeps the last
    # 9,000 until a request ends.
    connection.make_debug_cursor = connection.make_cursor  # type: ignore[assignment, method-assign]


def close_connections() -> None:
    """Close the threads' connections, so that a test database can go."""
    barrier = [_pool.submit(_close_one) for _ in range(THREADS * 4)]
    barrier.append(_rights_pool.submit(_close_one))
    for done in barrier:
        done.result()


def _close_one() -> None:
    connection.close()
