from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from runners.live.hub import Hub
from runners.live.layer import LocalLayer


@pytest.fixture
def layer() -> LocalLayer:
    return LocalLayer()


@pytest.fixture
async def hub(layer: LocalLayer) -> AsyncIterator[Hub]:
    hub = Hub(layer)
    yield hub
    await hub.close()
    assert layer.groups == {}
    assert hub.groups == 0
