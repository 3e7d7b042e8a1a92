from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.conf import settings

from runners.intake.endpoint import intake
from runners.live.close_codes import OVERLOADED, RECONNECT, TOO_FAST
from runners.live.hub import Hub
from runners.live.layer import LocalLayer
from runners.live.outbox import TypedOutbox
from runners.serving.admission import (
    PATIENCE_S,
    WAITING_SHARE,
    Admission,
)
from runners.serving.process import Process
from tests.live.socket_writers import RecordingWriter
from tests.virtual_time import virtual_time
from tests.waiting import within


@pytest.fixture
async def admission(hub: Hub) -> AsyncIterator[Admission]:
    admission = Admission(hub)
    yield admission
    await admission.close()


async def test_a_new_socket_is_admitted(admission: Admission) -> None:
    assert admission.refusal("a") is None
    assert not admission.refused


async def test_a_draining_process_admits_no_sockets(admission: Admission) -> None:
    admission.draining = True
    assert code(admission) == RECONNECT
    assert admission.refused == {"leaving": 1}


async def test_a_full_process_admits_no_sockets(admission: Admission) -> None:
    admission.socket_limit = 1
    assert admission.refusal("a") is None
    hub = admission.hub
    hub.sockets.add(TypedOutbox(RecordingWriter(), hub))
    assert code(admission) == OVERLOADED
    hub.sockets.clear()
    assert admission.refusal("a") is None


async def test_a_handshake_that_waits_is_a_socket_until_its_client_leaves(
    admission: Admission,
) -> None:
    admission.socket_limit = 1
    left = asyncio.Event()
    held_back = asyncio.create_task(admission.hold_back("a", 60, left.wait()))
    await asyncio.sleep(0)
    assert code(admission) == OVERLOADED
    left.set()
    assert await within(held_back)
    assert admission.refusal("a") is None
    assert not await admission.hold_back("a", 0, asyncio.Event().wait())
    assert admission.refusal("a") is None


async def test_waiting_handshakes_of_a_network_take_a_part_of_the_sockets(
    admission: Admission,
) -> None:
    admission.socket_limit = 2 * WAITING_SHARE
    left = asyncio.Event()
    waiting = [
        asyncio.create_task(admission.hold_back("a", 60, left.wait())) for _ in range(2)
    ]
    await asyncio.sleep(0)
    assert admission.refusal("a") is None
    waiting.append(asyncio.create_task(admission.hold_back("a", 60, left.wait())))
    await asyncio.sleep(0)
    assert code(admission) == TOO_FAST
    assert admission.refusal("b") is None
    left.set()
    assert all(await within(asyncio.gather(*waiting)))
    assert admission.refusal("a") is None


async def test_new_sockets_are_refused_during_lasting_lag_and_then_admitted_again(
    admission: Admission,
) -> None:
    admission.record_lag(2.0)
    assert admission.refusal("a") is None
    make_lasting(admission)
    assert code(admission) == OVERLOADED
    assert admission.refused == {"lag": 1}
    # Ten measurements per second, well within the ten seconds for recovery.
    for _ in range(30):
        admission.record_lag(0.0)
    assert admission.refusal("a") is None


def code(admission: Admission) -> int | None:
    refusal = admission.refusal("a")
    return refusal and refusal[0]


def make_lasting(admission: Admission) -> None:
    """Let the lag last for longer than is tolerated, and measure it again."""
    assert admission._late_since is not None
    admission._late_since -= PATIENCE_S
    admission.record_lag(2.0)


@virtual_time
async def test_one_long_stall_is_no_lasting_lag() -> None:
    hub = Hub(LocalLayer())
    admission = Admission(hub)
    await asyncio.sleep(1)
    # As when the process is stopped for six seconds and goes on.
    admission.record_lag(6.0)
    while admission.lag * 1000 >= settings.SPECTATE_LAG_LIMIT:
        assert admission.refusal("a") is None
        await asyncio.sleep(0.1)
    await admission.close()
    await hub.close()


async def test_reports_of_phones_are_refused_last(admission: Admission) -> None:
    admission.record_lag(2.0)
    make_lasting(admission)
    assert admission.overloaded
    assert not admission.refuses_reports
    admission.record_lag(6.0)
    assert admission.refuses_reports


@virtual_time
async def test_delayed_writes_count_as_lag() -> None:
    hub = Hub(LocalLayer())
    await asyncio.sleep(10)
    now = hub.loop.time()
    hub.record_pass(since=now - 3, at=now - 2.5)
    assert hub.pop_lateness() == 2.5
    assert hub.pop_lateness() == 0
    await hub.close()


async def test_an_overloaded_process_asks_phones_to_retry_later(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "refuses_reports", True)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("Nothing of it is even read.")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"path": "/intake/generic/x/", "method": "POST", "headers": []}
    await intake(scope, receive, send)
    assert sent[0]["status"] == 503
    assert int(dict(sent[0]["headers"])[b"retry-after"]) > 0
