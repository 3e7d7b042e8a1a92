"""Scenarios in which a server sends everything that it can send.

Short scenarios run concurrently, each with separate runners; at the end come those that
need a fault, and the drain.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable

from tests.api.capture import Capture
from tests.api.scenarios import ending, limits, publishing, racing, rights, spectating
from tests.api.scenarios.context import Context
from tests.api.scenarios.rows import make_rows
from tests.servers import Server

# Small limits, which scenarios reach quickly.
LIMITS = {
    "SPECTATE_FIRST_MESSAGE": "5",
    "SPECTATE_FOLLOW_LIMIT": "12",
    "SPECTATE_LAG_LIMIT": "600000",
    "SPECTATE_FRAME_LIMIT": "65536",
    "SPECTATE_PUBLISH_BURST": "1300",
    "SPECTATE_SOCKETS_A_TOKEN": "2",
    "TRUSTED_PROXIES": "127.0.0.1",
}
# The time limit of a scenario on a busy machine, where some twenty run concurrently.
PATIENCE_S = 120.0


async def run_all(capture: Capture) -> None:
    """Run all scenarios; a failure does not stop the others."""
    context = Context(capture, await capture.server.adatabase(make_rows))

    async def run(scenario: Callable[..., Awaitable[None]], *contexts: Context) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await scenario(*contexts)
        except Exception:
            name = getattr(scenario, "__name__", "")
            capture.failed.append(f"{name}: {traceback.format_exc()}")

    together = (
        *spectating.SCENARIOS,
        *publishing.SCENARIOS,
        *racing.SCENARIOS,
        *rights.SCENARIOS,
        *limits.SCENARIOS,
    )
    await asyncio.gather(*(run(scenario, context) for scenario in together))
    await run(context.requests.request_all)
    for scenario in ending.SCENARIOS:
        await run(scenario, context)


def capture_all() -> Capture:
    """Start a server, run all scenarios and return the messages."""
    server = Server("uvicorn", **LIMITS)
    capture = Capture(server)
    with server:
        asyncio.run(run_all(capture))
    return capture
