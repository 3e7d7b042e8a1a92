"""A conversation in which a server says everything that it ever says.

Short scenes beside each other, each with runners of its own; at the end what only a
fault provokes, and the server's leave.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable

from tests.api.capture import Capture
from tests.api.scenes import ending, limits, publishing, racing, rights, spectating
from tests.api.scenes.cast import make_cast
from tests.api.scenes.stage import Stage
from tests.servers import Server

# Small ones, to reach them soon.
LIMITS = {
    "SPECTATE_FIRST_MESSAGE": "5",
    "SPECTATE_FOLLOW_LIMIT": "12",
    "SPECTATE_LAG_LIMIT": "600000",
    "SPECTATE_FRAME_LIMIT": "65536",
    "SPECTATE_PUBLISH_BURST": "1300",
    "SPECTATE_SOCKETS_A_TOKEN": "2",
}
# How long a scene may take on a busy machine; some twenty are played at once. Seconds.
PATIENCE = 120.0


async def converse(capture: Capture) -> None:
    """Play all scenes; where one breaks off the others are heard all the same."""
    stage = Stage(capture, await capture.server.adatabase(make_cast))

    async def play(scene: Callable[..., Awaitable[None]], *given: Stage) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await scene(*given)
        except Exception:
            name = getattr(scene, "__name__", "")
            capture.broken_off.append(f"{name}: {traceback.format_exc()}")

    together = (
        *spectating.SCENES,
        *publishing.SCENES,
        *racing.SCENES,
        *rights.SCENES,
        *limits.SCENES,
    )
    await asyncio.gather(*(play(scene, stage) for scene in together))
    await play(stage.requests.ask_all)
    for scene in ending.SCENES:
        await play(scene, stage)


def capture_all() -> Capture:
    """Start a server, play all scenes and return what was said."""
    server = Server("uvicorn", **LIMITS)
    capture = Capture(server)
    with server:
        asyncio.run(converse(capture))
    return capture
