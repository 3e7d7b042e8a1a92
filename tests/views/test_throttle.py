from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.utils import timezone

from runners.models import Runner, ShareLink
from runners.views import throttle
from runners.views.throttle import Failures, failures
from tests.views.conftest import PASSWORD


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    failures.clear()
    yield
    failures.clear()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long answers were held back, and that no thread but the loop's was."""
    kept: list[float] = []

    async def sleep(seconds: float, *args: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        kept.append(seconds)

    monkeypatch.setattr("runners.views.throttle.asyncio.sleep", sleep)
    return kept


async def sign_in(name: str, password: str, path: str = "/sign-in/") -> int:
    response = await AsyncClient().post(path, {"username": name, "password": password})
    return int(response.status_code)


@pytest.mark.django_db(transaction=True)
async def test_wrong_passwords_wait_longer_each_time(waits: list[float]) -> None:
    await User.objects.acreate_user("alice", password=PASSWORD)
    for _ in range(6):
        assert await sign_in("alice", "wrong") == 200
    assert waits == [0.5, 1, 2, 4, 8, 8]


@pytest.mark.django_db(transaction=True)
async def test_right_password_waits_for_nothing(waits: list[float]) -> None:
    await User.objects.acreate_user("alice", password=PASSWORD)
    await sign_in("alice", "wrong")
    assert await sign_in("alice", PASSWORD) == 302
    assert waits == [0.5]


@pytest.mark.django_db(transaction=True)
async def test_accounts_wait_for_their_own_failures_only(waits: list[float]) -> None:
    for name in ("alice", "ALICE", "bob"):
        await sign_in(name, "wrong")
    assert waits == [0.5, 1, 0.5]


@pytest.mark.django_db(transaction=True)
async def test_admin_is_as_slow(waits: list[float]) -> None:
    await sign_in("alice", "wrong", "/admin/login/")
    await sign_in("alice", "wrong")
    assert waits == [0.5, 1]


@pytest.mark.django_db(transaction=True)
async def test_wrong_pins_wait_by_link(waits: list[float]) -> None:
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
    assert waits == [0.5, 1]


def test_failures_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Failures()
    now = time.monotonic()
    monkeypatch.setattr("runners.views.throttle.time.monotonic", lambda: now)
    assert [kept.add("alice"), kept.add("alice")] == [0.5, 1]
    now += throttle.FORGET + 1
    assert kept.add("alice") == 0.5


def test_failures_take_a_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST_KEPT", 10)
    kept = Failures()
    for number in range(50):
        kept.add(f"name {number}" * 1000)
    assert len(kept._kept) == 10
    assert kept.add("name 49" * 1000) == 1
