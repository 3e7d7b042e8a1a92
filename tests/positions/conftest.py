from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from runners import database
from runners.live.hub import Hub
from runners.live.layer import LocalLayer
from runners.models import Runner
from runners.positions.pipeline import Pipeline
from runners.positions.recorder import Recorder
from runners.positions.track import Publisher
from tests.positions.followers import Follower


@pytest.fixture
def bob(transactional_db: None) -> Publisher:
    """Bob, who runs."""
    runner = Runner.objects.create(code="bob", name="Bob")
    return Publisher(runner.pk, runner.code)


@pytest.fixture
async def pipeline(transactional_db: None) -> AsyncIterator[Pipeline]:
    """The pipeline of this test's event loop, on a separate layer."""
    layer = LocalLayer()
    pipeline = Pipeline(Hub(layer), Recorder())
    yield pipeline
    await pipeline.close()
    await asyncio.to_thread(pipeline.recorder.stop)
    await pipeline.hub.close()
    database.close_connections()
    assert layer.groups == {}


@pytest.fixture
async def follower(pipeline: Pipeline, bob: Publisher) -> Follower:
    follower = Follower()
    await pipeline.hub.subscribe([bob.pk], follower)
    return follower
