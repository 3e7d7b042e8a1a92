from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import AsyncClient
from django.utils import timezone

from runners.models import Runner, ShareLink
from runners.rights import failures as failures_module
from runners.rights.failures import Failures
from runners.views.throttle import failures


@pytest.fixture(autouse=True)
def clear_failures() -> Iterator[None]:
    failures.clear()
    yield
    failures.clear()


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays of responses; no thread but the event loop's may wait."""
    recorded: list[float] = []

    async def sleep(seconds: float, *args: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        recorded.append(seconds)

    monkeypatch.setattr("runners.rights.failures.asyncio.sleep", sleep)
    return recorded


@pytest.mark.django_db(transaction=True)
async def test_failures_of_pins_are_counted_by_link(delays: list[float]) -> None:
    bob = await Runner.objects.acreate(code="bob", name="Bob")

    def issue() -> str:
        _, plain = ShareLink.objects.issue(
            label="Mum",
            expires_at=timezone.now() + timedelta(hours=1),
            runners=[bob],
            pin="4711",
        )
        return plain

    path = f"/s/{await asyncio.to_thread(issue)}/"
    for pin in ("1111", "2222", "4711"):
        await AsyncClient().post(path, {"pin": pin})
    assert delays == [0.5, 1]


def test_failures_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Failures(0.5, 8)
    now = time.monotonic()
    monkeypatch.setattr("runners.rights.failures.time.monotonic", lambda: now)
    assert [recorded.add("alice"), recorded.add("alice")] == [0.5, 1]
    now += failures_module.FORGET_AFTER_S + 1
    assert recorded.add("alice") == 0.5


def test_the_number_of_failures_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures_module, "MAX_NAMES", 10)
    recorded = Failures(0.5, 8)
    for number in range(50):
        recorded.add(f"name {number}" * 1000)
    assert len(recorded._kept) == 10
    assert recorded.add("name 49" * 1000) == 1


def test_the_delay_has_a_maximum() -> None:
    recorded = Failures(0.1, 5)
    waits = [recorded.add("alice") for _ in range(2_000)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.1, 5)
