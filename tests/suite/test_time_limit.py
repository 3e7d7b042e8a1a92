from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Coroutine

import pytest

from tests.time_limit import time_limit

HANGS = "test_of_bob hangs: it has not ended after 0.2 s."


def test_a_hanging_test_fails_and_its_name_is_reported(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with (
        pytest.raises(pytest.fail.Exception, match=HANGS),
        time_limit("test_of_bob", 0.2),
    ):
        threading.Event().wait()
    assert "test_a_hanging_test" in capfd.readouterr().err


async def hang() -> None:
    await asyncio.Event().wait()


async def hang_in_a_thread() -> None:
    await asyncio.to_thread(time.sleep, 1)


async def spin() -> None:
    while True:
        await asyncio.sleep(0)


@pytest.mark.parametrize("hangs", [hang, hang_in_a_thread, spin])
def test_a_hanging_coroutine_fails(
    hangs: Callable[[], Coroutine[None, None, None]],
) -> None:
    with (
        pytest.raises(pytest.fail.Exception, match=HANGS),
        # Repeated, because the first exception may be lost in the event loop.
        time_limit("test_of_bob", 0.2, repeat_s=3),
    ):
        asyncio.run(hangs())


def test_a_test_that_ends_in_time_is_not_interrupted() -> None:
    with time_limit("test_of_bob"):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
