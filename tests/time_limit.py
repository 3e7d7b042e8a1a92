"""A time limit for each test: a hanging test fails and does not block the suite."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import signal
from collections.abc import Iterator
from typing import NoReturn

import pytest

# The limit of each of a test's setup, call and teardown.
TEST_LIMIT_S = 300.0
# An exception that is raised in a different asyncio task is lost there, so the alarm
# repeats. The interval leaves the fixtures time to stop their servers.
REPEAT_S = 60.0
STDERR = 2  # Captured by pytest, so it is part of the test's report.


@contextlib.contextmanager
def time_limit(
    name: str, seconds: float = TEST_LIMIT_S, repeat_s: float = REPEAT_S
) -> Iterator[None]:
    """Fail the test after this time, and print the stack of every thread and task.

    SIGALRM interrupts the main thread, where tests run (in a worker of xdist too), and
    the fixtures are torn down as after any failure.
    """

    def fail(*_: object) -> NoReturn:
        faulthandler.dump_traceback(STDERR)
        with contextlib.suppress(RuntimeError):  # No running event loop.
            for task in asyncio.all_tasks():
                task.print_stack()
        pytest.fail(f"{name} hangs: it has not ended after {seconds:g} s.")

    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds, repeat_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
