"""A runner, Bob, and viewers with access who follow him."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from websockets.exceptions import ConnectionClosed

from runners.models import Runner
from runners.units.clock import now_ms
from tests.clients import Client, typed_client
from tests.factories.people import make_follow, make_runner, make_session, make_user
from tests.factories.positions import make_latest
from tests.servers import Server


@dataclass
class LiveBob:
    """Bob runs and publishes every 50 ms, on a server that viewers connect to."""

    server: Server
    bob: Runner
    token: str
    phone: Client
    # The `id` of the last publish message.
    published: int = 0

    @property
    def code(self) -> str:
        return self.bob.code


@dataclass
class Alice:
    """A user who is signed in."""

    user: User
    cookie: str


def make_alice(bob: Runner, status: str | None = "accepted") -> Alice:
    """Make a signed-in user, who follows Bob if there is a status."""
    user = make_user(f"alice-{bob.code}")
    if status:
        make_follow(user, bob, status)
    return Alice(user, make_session(user))


def make_located_runner(code: str) -> Runner:
    """Make a public runner with a position of this moment."""
    runner = make_runner(code)
    make_latest(runner)
    return runner


def short_duration(began: float) -> timedelta:
    """Return a duration in which what was done since `began` can be done again.

    `began` is in seconds of `time.monotonic()`. An expiring right must be used before
    it ends, also on a busy machine.
    """
    return timedelta(seconds=1 + 10 * (time.monotonic() - began))


@contextlib.asynccontextmanager
async def open_page(live: LiveBob, user: Alice) -> AsyncIterator[Client]:
    headers = {"Origin": live.server.url, "Cookie": f"sessionid={user.cookie}"}
    async with typed_client(live.server.ws_url, additional_headers=headers) as client:
        yield client


async def follow_bob(client: Client, live: LiveBob) -> None:
    await client.send(type="follow", runners=[live.code], tick=0)
    snapshot = await client.receive_type("snapshot")
    assert [r["code"] for r in snapshot["runners"]] == [live.code]
    await client.receive_type("positions")


async def wait_for_bob(live: LiveBob) -> None:
    """Wait until the server has handled more fixes, or has closed his socket."""
    more = live.published + 6
    with contextlib.suppress(ConnectionClosed):
        await live.phone.receive_until(lambda m: m.get("id", 0) >= more)


async def expect_loss(client: Client, live: LiveBob, reason: str) -> None:
    """Assert that the stream ends with an `access` event and nothing follows."""
    event = await client.receive_type("event", "access")
    assert (event["runner"], event["reason"]) == (live.code, reason)
    await wait_for_bob(live)
    assert await client.received() == []


async def expect_no_positions(client: Client, live: LiveBob) -> None:
    """Assert that no position of now arrives although Bob continues to publish.

    Earlier ones may still arrive after a snapshot, stored since it was read.
    """
    now = now_ms()
    await wait_for_bob(live)
    await client.received()
    await wait_for_bob(live)
    messages = await client.received()
    times = [row[1] for m in messages if m["type"] == "positions" for row in m["fixes"]]
    times += [row[0] for m in messages if m["type"] == "late" for row in m["fixes"]]
    assert [t for t in times if t >= now] == []
