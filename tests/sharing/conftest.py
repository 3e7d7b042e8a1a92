from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from tests.clients import typed_client
from tests.office import Office
from tests.servers import Server
from tests.sharing.scene import Scene, now_ms


@pytest.fixture(scope="module")
def office(uvicorn_server: Server) -> Iterator[Office]:
    office = Office(uvicorn_server)
    yield office
    office.close()


@pytest.fixture
async def scene(uvicorn_server: Server, office: Office) -> AsyncIterator[Scene]:
    code = f"bob-{time.monotonic_ns()}"
    token = await office.do(
        f"bob = Runner.objects.create(code='{code}', name='Bob')\n"
        "print(RunnerToken.objects.issue(bob, name='phone')[1])"
    )
    async with typed_client(uvicorn_server.ws_url, token) as phone:

        async def run() -> None:
            for n in itertools.count():
                fix = {"t": now_ms(), "lat": 48 + n / 1e4, "lng": 2}
                await phone.say(type="publish", fixes=[fix])
                await asyncio.sleep(0.05)

        running = asyncio.create_task(run())
        yield Scene(uvicorn_server, office, code, token, phone)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
            await running
