from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from runners.live.layer import LocalLayer
from runners.live.relay import Relay


@pytest.fixture
def layer() -> LocalLayer:
    return LocalLayer()


@pytest.fixture
async def relay(layer: LocalLayer) -> AsyncIterator[Relay]:
    relay = Relay(layer)
    yield relay
    await relay.close()
    assert layer.groups == {}
    assert relay.groups == 0
