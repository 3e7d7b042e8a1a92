from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from channels.layers import channel_layers

from runners import database
from runners.live.hub import get_hub
from runners.live.layer import LocalLayer
from runners.models import Runner
from runners.positions.pipeline import Pipeline, get_pipeline
from runners.positions.track import Publisher


@pytest.fixture
def bob(transactional_db: None) -> Publisher:
    """Bob, who runs."""
    runner = Runner.objects.create(code="bob", name="Bob")
    return Publisher(runner.pk, runner.code)


@pytest.fixture
async def pipeline(transactional_db: None) -> AsyncIterator[Pipeline]:
    """The pipeline of this test's event loop, on a separate layer."""
    layer = LocalLayer()
    channel_layers.set("default", layer)
    pipeline = get_pipeline()
    yield pipeline
    await pipeline.close()
    await get_hub().close()
    database.close_connections()
    assert layer.groups == {}
