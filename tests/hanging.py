"""A limit for each test, so that one that hangs fails instead of stopping the suite."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import signal
from collections.abc import Iterator
from typing import NoReturn

import pytest

# For each of a test's setup, call and teardown.
LIMIT_S = 300.0
# An exception that lands in another task of asyncio's is lost there: it comes again.
# Not before the fixtures have had the time to stop their servers.
AGAIN_S = 60.0
STDERR = 2  # as pytest captures it: part of the report of the test


@contextlib.contextmanager
def limited(name: str, seconds: float = LIMIT_S) -> Iterator[None]:
    """Fail what takes longer than that, and print the stack of every thread and task.

    SIGALRM interrupts the main thread, where tests run, also in a worker of xdist, and
    the fixtures are torn down as after any failure.
    """

    def fail(*_: object) -> NoReturn:
        faulthandler.dump_traceback(STDERR)
        with contextlib.suppress(RuntimeError):  # without a running event loop
            for task in asyncio.all_tasks():
                task.print_stack()
        pytest.fail(f"{name} hangs: it has not ended after {seconds:g} s.")

    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
