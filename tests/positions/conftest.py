from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from channels.layers import channel_layers

from runners import store
from runners.live.layer import LocalLayer
from runners.live.relay import get_relay
from runners.models import Runner
from runners.positions.accept import Acceptor, get_acceptor
from runners.positions.track import Publisher


@pytest.fixture
def bob(transactional_db: None) -> Publisher:
    """Bob runs."""
    runner = Runner.objects.create(code="bob", name="Bob")
    return Publisher(runner.pk, runner.code)


@pytest.fixture
async def acceptor(transactional_db: None) -> AsyncIterator[Acceptor]:
    """What serves in this test's event loop, on a layer of its own."""
    layer = LocalLayer()
    channel_layers.set("default", layer)
    acceptor = get_acceptor()
    yield acceptor
    await acceptor.close()
    await get_relay().close()
    store.close_connections()
    assert layer.groups == {}
