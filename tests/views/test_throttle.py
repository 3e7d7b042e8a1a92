from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, RequestFactory

from runners.models import Runner
from runners.rights import failures as failures_module
from runners.rights.failures import Failures
from runners.serving.process import Process
from runners.views.throttle import failures, slow_failures
from tests.factories.people import make_link


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
        _, plain = make_link(bob, pin="4711")
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


async def test_requests_that_are_too_many_are_delayed(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay = AsyncMock()
    monkeypatch.setattr(process.refusals, "delay", delay)
    for status, delayed in ((200, 0), (429, 1)):

        async def view(request: HttpRequest, status: int = status) -> HttpResponse:
            return HttpResponse(status=status)

        request = RequestFactory().get("/", REMOTE_ADDR="2001:db8::7")
        assert (await slow_failures(view)(request)).status_code == status
        assert delay.await_count == delayed
    delay.assert_awaited_with("2001:db8::/64")


async def test_wrong_share_links_are_delayed_by_network(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay = AsyncMock()
    monkeypatch.setattr(process.wrong_secrets, "delay", delay)
    bob = await Runner.objects.acreate(code="bob", name="Bob")
    _, token = await asyncio.to_thread(make_link, bob)
    for link, status in ((token, 200), ("guess", 404)):
        answer = await AsyncClient().get("/live.json", headers={"Spectate-Share": link})
        assert answer.status_code == status
    delay.assert_awaited_once_with("127.0.0.1")
