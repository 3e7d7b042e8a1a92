"""The services of a process after its start and after its stop."""

from __future__ import annotations

import asyncio

import pytest

from runners import database
from runners.live.layer import LocalLayer
from runners.models import Position, Runner
from runners.positions import recorder
from runners.positions.fix import Fix
from runners.positions.track import Publisher
from runners.serving import process
from runners.units.clock import milliseconds, now_ms


async def test_positions_that_are_queued_at_a_stop_are_stored(
    transactional_db: None,
) -> None:
    bob = await Runner.objects.acreate(code="bob", name="Bob")
    layer = LocalLayer()
    services = process.build(layer)
    fixes = [Fix(now_ms(), 48.0, 2.0)]
    receipt = await services.pipeline.accept(
        Publisher(bob.pk, bob.code), fixes, source="websocket"
    )
    assert receipt.stored is not None and not receipt.stored.done()
    await process.stop()
    assert await Position.objects.acount() == 1
    assert layer.groups == {}
    database.close_connections()


async def test_a_stop_waits_until_others_know_of_its_late_commits(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "LATE_S", 1e-9)
    bob = await Runner.objects.acreate(code="bob", name="Bob")
    services = process.build(LocalLayer())
    lost: list[int] = []

    async def publish_slowly(since: int) -> None:
        await asyncio.sleep(0.1)
        lost.append(since)

    monkeypatch.setattr(services.hub, "publish_loss", publish_slowly)
    receipt = await services.pipeline.accept(
        Publisher(bob.pk, bob.code), [Fix(now_ms(), 48.0, 2.0)], source="websocket"
    )
    assert receipt.stored is not None and not receipt.stored.done()
    await process.stop()
    stored = await Position.objects.aget()
    assert lost and lost[0] <= milliseconds(stored.stored_at)
    database.close_connections()


async def test_a_process_that_does_not_serve_has_no_services() -> None:
    with pytest.raises(RuntimeError):
        process.current()
    await process.stop()
    # Views also respond in processes without live services.
    assert process.complete_before(7) == 7
