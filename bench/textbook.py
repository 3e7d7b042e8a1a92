"""A consumer as in Channels' tutorial, as a baseline.

One channel per consumer, `group_add` for each runner followed, `group_send` for each
position, `send_json` in the handler. It checks nothing and stores nothing, which makes
it faster than an equivalent server.

    uvicorn bench.textbook:application        daphne bench.textbook:application
"""

from __future__ import annotations

import logging
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from django.conf import settings

# Messages that a channel holds before it drops some. The default is 100. This is high
# enough that nothing is lost.
CAPACITY = 1_000_000

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": CAPACITY},
        }
    },
)
# Daphne logs every request. The baseline is measured without logs.
logging.disable(logging.INFO)


class Textbook(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        self.followed: list[str] = []
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for group in self.followed:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive_json(self, content: dict[str, Any], **kwargs: object) -> None:
        if content.get("initialRequest"):
            for runner in content["following"]:
                group = f"runner.{runner}"
                await self.channel_layer.group_add(group, self.channel_name)
                self.followed.append(group)
        else:
            await self.channel_layer.group_send(
                f"runner.{content['userId']}",
                {"type": "geo.update", "position": content},
            )

    async def geo_update(self, event: dict[str, Any]) -> None:
        await self.send_json(event["position"])


application = ProtocolTypeRouter({"websocket": Textbook.as_asgi()})
