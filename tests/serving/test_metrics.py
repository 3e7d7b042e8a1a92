"""A process's metrics, as Prometheus reads them."""

from __future__ import annotations

import asyncio

import pytest
from django.db import OperationalError
from django.test import AsyncClient
from prometheus_client import CollectorRegistry, generate_latest

from runners.live.age_histogram import AGE_BOUNDS_S
from runners.live.outbox import SeedOutbox
from runners.models import Runner
from runners.positions import recorder as recorder_module
from runners.positions.fix import Fix
from runners.positions.pipeline import Pipeline
from runners.positions.track import Publisher
from runners.serving.metrics import ProcessCollector, Reading
from runners.serving.process import Process
from runners.units.clock import now_ms
from tests.live.socket_writers import RecordingWriter
from tests.waiting import eventually

AGE = "spectate_delivery_age_seconds"


@pytest.fixture
def bob(transactional_db: None) -> Publisher:
    runner = Runner.objects.create(code="bob", name="Bob")
    return Publisher(runner.pk, runner.code)


@pytest.fixture
def pipeline(process: Process) -> Pipeline:
    return process.pipeline


def values(text: str) -> dict[str, float]:
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {
        name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)
    }


async def read_metrics() -> dict[str, float]:
    """Return the values of this process's /metrics by name with labels."""
    answer = await AsyncClient().get("/metrics")
    return values(answer.content.decode())


def buckets(metrics: dict[str, float], labels: str = "") -> list[float]:
    """Return the counts of a histogram, in the order of its bounds."""
    bounds = [*map(str, AGE_BOUNDS_S), "+Inf"]
    return [metrics[f'{AGE}_bucket{{le="{bound}"{labels}}}'] for bound in bounds]


async def test_merged_positions_are_counted(pipeline: Pipeline, bob: Publisher) -> None:
    writer = RecordingWriter()
    writer.behind = True
    outbox = SeedOutbox(writer, pipeline.hub)
    await pipeline.hub.subscribe([bob.pk], outbox)
    newest = now_ms()
    for t in range(newest - 4, newest + 1):
        await pipeline.accept(bob, [Fix(t, 48.0, 2.0)], source="websocket")
    await eventually(lambda: outbox.waiting == 1)
    writer.drain()
    assert len(writer.messages) == 1
    counted = await read_metrics()
    assert counted["spectate_merged_total"] == 4
    assert counted["spectate_deliveries_total"] == 1


async def test_fixes_that_are_never_stored_are_counted_by_reason(
    process: Process, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would tell the pipeline that the runner is deleted.
    await process.access_monitor.close()
    pipeline, recorder = process.pipeline, process.recorder
    times = iter(range(now_ms() - 1_000, now_ms()))

    async def send(count: int) -> None:
        fixes = [(Fix(next(times), 48.0, 2.0), True) for _ in range(count)]
        assert await pipeline.accept_live(bob, fixes, "bob") == []

    def fail(error: Exception) -> None:
        def failing(*work: object) -> object:
            raise error

        monkeypatch.setattr(recorder_module, "write_rows", failing)

    await send(1)
    await recorder.flushed()
    await Runner.objects.all().adelete()
    await send(2)
    await recorder.flushed()
    with monkeypatch.context() as full:
        full.setattr(recorder_module, "CAPACITY", 0)
        await send(3)
    fail(ValueError("nobody knows why"))
    await send(4)
    await recorder.flushed()
    fail(OperationalError("the database is away"))
    await send(5)
    await asyncio.to_thread(recorder.stop)

    counted = await read_metrics()
    reasons = {"refused": 2, "full": 3, "failed": 4, "stopped": 5}
    assert {
        reason: counted[f'spectate_not_stored_total{{reason="{reason}"}}']
        for reason in reasons
    } == reasons
    assert counted["spectate_stored_total"] == 1
    assert counted["spectate_accepted_total"] == 15


async def test_a_bucket_counts_all_deliveries_up_to_its_age(pipeline: Pipeline) -> None:
    ages = pipeline.hub.ages
    ages.add(0.02, 1)
    ages.add(0.3, 2)
    ages.add(100.0, 4)
    counted = await read_metrics()
    assert buckets(counted) == [1] * 4 + [3] * (len(AGE_BOUNDS_S) - 4) + [7]
    assert counted[f"{AGE}_count"] == 7
    assert counted[f"{AGE}_sum"] == pytest.approx(0.02 + 2 * 0.3 + 4 * 100.0)


async def test_a_delivery_is_counted_once_by_its_age(
    pipeline: Pipeline,
) -> None:
    hub = pipeline.hub
    now = hub.loop.time()
    hub.delivered += 3
    # The position is 20 seconds old, between the bounds 10 and 30.
    hub.record_pass(now - 20, now)
    hub.record_pass(now - 20, now)
    counted = buckets(await read_metrics())
    assert counted == [0] * (len(AGE_BOUNDS_S) - 1) + [3, 3]


def test_each_worker_has_separate_buckets() -> None:
    registry = CollectorRegistry()
    registry.register(
        ProcessCollector(
            {
                worker: [
                    Reading(
                        "histogram",
                        "delivery_age_seconds",
                        "",
                        {str(n): worker for n in range(len(AGE_BOUNDS_S) + 1)}
                        | {"sum": 9.0},
                    )
                ]
                for worker in (1, 2)
            }
        )
    )
    text = generate_latest(registry).decode()
    for worker in (1, 2):
        labels = f',worker="{worker}"'
        expected = [worker * n for n in range(1, len(AGE_BOUNDS_S) + 2)]
        assert buckets(values(text), labels) == expected
