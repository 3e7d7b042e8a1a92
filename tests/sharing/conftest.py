from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator

import pytest
from websockets.exceptions import ConnectionClosed

from runners.units.clock import now_ms
from tests.clients import typed_client
from tests.factories.people import make_runner, make_token
from tests.servers import Server
from tests.sharing.live_bob import LiveBob


@pytest.fixture
async def live(uvicorn_server: Server) -> AsyncIterator[LiveBob]:
    code = f"bob-{time.monotonic_ns()}"
    bob = await uvicorn_server.adatabase(make_runner, code, "Bob")
    token = await uvicorn_server.adatabase(make_token, bob)
    async with typed_client(uvicorn_server.ws_url, token) as phone:
        live = LiveBob(uvicorn_server, bob, token, phone)

        async def run() -> None:
            for n in itertools.count(1):
                fix = {"t": now_ms(), "lat": 48 + n / 1e4, "lng": 2}
                await phone.send(type="publish", id=n, fixes=[fix])
                live.published = n
                await asyncio.sleep(0.05)

        running = asyncio.create_task(run())
        yield live
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
            await running
