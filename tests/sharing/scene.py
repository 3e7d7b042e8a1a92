"""Bob runs, who may see him follows, and what they hear."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from django.contrib.auth.models import User

from runners.models import Runner
from tests.clients import Client, typed_client
from tests.scenes.people import make_follow, make_session, make_user
from tests.servers import Server

# Polls come every 300 ms; the rest is for a busy machine. Seconds.
SOON = 1.0


def now_ms() -> int:
    return int(time.time() * 1000)


@dataclass
class Scene:
    """Bob runs and publishes every 50 ms; who may see him follows."""

    server: Server
    bob: Runner
    token: str
    phone: Client

    @property
    def code(self) -> str:
        return self.bob.code


@dataclass
class Alice:
    """A user who is signed in."""

    user: User
    cookie: str


def make_alice(bob: Runner, status: str | None = "accepted") -> Alice:
    """Sign a user up and in; with a status she follows Bob."""
    user = make_user(f"alice-{bob.code}")
    if status:
        make_follow(user, bob, status)
    return Alice(user, make_session(user))


@contextlib.asynccontextmanager
async def page_of(scene: Scene, who: Alice) -> AsyncIterator[Client]:
    headers = {"Origin": scene.server.url, "Cookie": f"sessionid={who.cookie}"}
    async with typed_client(scene.server.ws_url, additional_headers=headers) as client:
        yield client


async def sees_bob(client: Client, scene: Scene) -> None:
    await client.say(type="follow", runners=[scene.code], tick=0)
    snapshot = await client.hear_type("snapshot")
    assert [r["code"] for r in snapshot["runners"]] == [scene.code]
    await client.hear_type("positions")


async def loses_bob(client: Client, scene: Scene, since: float, reason: str) -> None:
    """The stream ends with an `access` event in time, and nothing comes after."""
    event = await client.hear_type("event", "access")
    assert time.monotonic() - since < SOON
    assert (event["runner"], event["reason"]) == (scene.code, reason)
    await asyncio.sleep(0.3)
    await client.say(type="ping")
    rest = await client.hear()
    assert rest["type"] == "pong", rest


async def quiet(client: Client) -> bool:
    """Tell whether a stream ends within two seconds."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if await client.hear_nothing(0.4):
            return True
    return False
