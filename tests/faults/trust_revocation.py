"""Measure how long positions still arrive after a right to see them has ended.

The long form has 504 sockets on three processes with Redis and PostgreSQL, then on one
process with neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from websockets.exceptions import ConnectionClosed

from runners.live.close_codes import NO_LONGER_ALLOWED, NOT_SIGNED_IN
from tests.background import in_background
from tests.clients import Client, typed_client
from tests.factories.revocation import (
    EXPIRY_S,
    Revocable,
    Way,
    block,
    delete_account,
    delete_runner,
    hide,
    let_link_expire,
    make_revocable,
    remove_follower,
    revoke_link,
    revoke_token,
    sign_out,
)
from tests.faults.by_hand import by_hand
from tests.faults.peer import SUBPROTOCOLS, Peer, until
from tests.servers import Server
from tests.services import Redis, shared_postgres
from tests.waiting import PATIENCE_S, eventually

Setup = Literal["three", "alone"]
SETUPS: tuple[Setup, ...] = ("three", "alone")
# Longest time from the commit to the runner's last position.
BOUND_S = 1.0
# The limits of the short form are in acked fixes, at most five per second, because
# fixes slow down with a busy machine. Fixes until the last position.
BOUND_FIXES = 10
# Fixes to wait after that.
QUIET_FIXES = 5
BETWEEN_FIXES_S = 0.2
CONCURRENT_HANDSHAKES = 5


@dataclass(frozen=True)
class Change:
    """A change of rights, its target, and how the sockets end."""

    name: str
    act: Callable[[Revocable], None]
    visible_by: Way
    close: int | None = None
    # Time after which the change takes effect.
    wait_s: float = 0.0


TOKEN_REVOKED = Change("token revoked", revoke_token, "anybody")
CHANGES = (
    TOKEN_REVOKED,
    Change("link revoked", revoke_link, "link", NO_LONGER_ALLOWED),
    Change("link expired", let_link_expire, "link", NO_LONGER_ALLOWED, EXPIRY_S),
    Change("follower removed", remove_follower, "follower"),
    Change("visibility changed", hide, "anybody"),
    Change("signed out", sign_out, "follower", NOT_SIGNED_IN),
    Change("account deleted", delete_account, "follower", NOT_SIGNED_IN),
    Change("blocked, in a race", block, "race"),
    Change("link to a race revoked", revoke_link, "race link", NO_LONGER_ALLOWED),
    Change("runner deleted", delete_runner, "anybody"),
)


@dataclass
class RevocationReport:
    """Times in ms from each change to the last position and to the last close."""

    long: bool
    # Sockets per change. All are open at the same time.
    watchers: int
    last_position_ms: dict[str, int] = field(default_factory=dict)
    slowest_ms: int = 0
    closed_ms: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        late = [
            f"{name}: a position {ms} ms later"
            for name, ms in self.last_position_ms.items()
            # A limit of the long form, because a busy machine would exceed it.
            if self.long and ms > BOUND_S * 1000
        ]
        return self.wrong + late


class Watcher(Peer):
    """Follows a runner and records the time of the last position."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self.headers = headers
        self.positions = 0
        self.received_at = 0.0
        # Arrival of the last fix that is newer than all before.
        self.newer_at = 0.0
        self.newest = 0.0
        self.closed_at = 0.0

    def request(self, url: str, subprotocol: str | None = None) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        request = super().request(url, subprotocol)
        return request.removesuffix(b"\r\n") + lines.encode() + b"\r\n"

    def received(self, text: bytes) -> None:
        message = orjson.loads(text)
        if "lat" in message:
            # The seed dialect sends no late fixes.
            self.count_position(self.newest + 1)
        elif message.get("type") == "positions" and message["fixes"]:
            self.count_position(message["fixes"][-1][1])
        elif message.get("type") == "late":
            self.count_position(message["fixes"][-1][0])

    def count_position(self, t: float) -> None:
        self.positions += 1
        self.received_at = time.time()
        if t > self.newest:
            self.newest, self.newer_at = t, self.received_at

    def lost(self) -> None:
        self.closed_at = time.time()


class Scenario:
    def __init__(self, server: Server, report: RevocationReport) -> None:
        self.server = server
        self.report = report
        self.number = itertools.count()
        self.everybody_connected = asyncio.Barrier(len(CHANGES))

    async def run(self) -> None:
        await asyncio.gather(*map(self.revoke, CHANGES))

    async def revoke(self, change: Change) -> None:
        # Each change has a different runner, so that all can be tested at the same
        # time.
        code, way = f"bob-{next(self.number)}", change.visible_by
        target = await self.server.adatabase(make_revocable, code, way)
        headers: dict[str, str] = {}
        follow: dict[str, Any] = {"runners": [code]}
        if way in ("follower", "race"):
            cookie = f"sessionid={target.cookie}"
            headers = {"Origin": self.server.url, "Cookie": cookie}
        if way == "race":
            follow = {"races": [code]}
        elif way in ("link", "race link"):
            follow = {"share": target.share}
        async with running(self.server, target.token) as phone:
            watchers = await self.open(code, headers, follow)
            try:
                # Wait for all, because many handshakes at the same time would delay the
                # change.
                await self.everybody_connected.wait()
                await self.change_and_measure(change, target, watchers, phone)
            finally:
                for watcher in watchers:
                    watcher.reset()

    async def open(
        self, code: str, headers: dict[str, str], follow: dict[str, Any]
    ) -> list[Watcher]:
        gate = asyncio.Semaphore(CONCURRENT_HANDSHAKES)

        async def watcher(number: int) -> Watcher:
            watcher = Watcher(headers)
            # Only the typed dialect follows links and races.
            dialect = "v1" if "runners" not in follow or number % 2 else "seed"
            async with gate:
                await watcher.open(self.server.ws_url + "/", SUBPROTOCOLS[dialect])
                if dialect == "v1":
                    watcher.send({"type": "follow", "tick": 0} | follow)
                else:
                    watcher.send({"initialRequest": True, "following": [code]})
                await until(lambda: watcher.positions > 0, PATIENCE_S)
            return watcher

        return await asyncio.gather(*map(watcher, range(self.report.watchers)))

    async def change_and_measure(
        self,
        change: Change,
        target: Revocable,
        watchers: list[Watcher],
        phone: RunningPhone,
    ) -> None:
        def act() -> float:
            change.act(target)
            return time.time()

        before = [watcher.positions for watcher in watchers]
        if not await until(lambda: all_received_more(watchers, before), PATIENCE_S):
            self.report.wrong.append(f"{change.name}: not everybody was watching")
        since = await self.server.adatabase(act) + change.wait_s
        await asyncio.sleep(change.wait_s)
        await phone.goes_on(BOUND_FIXES)
        if change.close is not None:
            await until(lambda: all(w.closed.done() for w in watchers), PATIENCE_S)
        before = [watcher.positions for watcher in watchers]
        await phone.goes_on(QUIET_FIXES)
        if before != [watcher.positions for watcher in watchers]:
            self.report.wrong.append(f"{change.name}: positions go on coming")
        # Revoking a token does not hide fixes that were accepted before.
        old_too = change is not TOKEN_REVOKED
        last = max(w.received_at if old_too else w.newer_at for w in watchers)
        self.report.last_position_ms[change.name] = max(0, round((last - since) * 1000))
        codes = {w.closed.result() if w.closed.done() else None for w in watchers}
        if codes != {change.close}:
            self.report.wrong.append(f"{change.name}: closed with {codes}")
        elif change.close is not None:
            closed = max(watcher.closed_at for watcher in watchers)
            self.report.closed_ms[change.name] = round((closed - since) * 1000)


def all_received_more(watchers: list[Watcher], before: list[int]) -> bool:
    return all(w.positions > count for w, count in zip(watchers, before, strict=True))


class RunningPhone:
    """Publishes at a steady rate until its token is revoked."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.acked = 0
        self.ended = False

    async def run(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for number in itertools.count():
                t = int(time.time() * 1000)
                fix = {"t": t, "lat": 48 + number / 1e4, "lng": 2}
                await self.client.send(type="publish", fixes=[fix])
                await self.client.receive_type("ack")
                self.acked += 1
                await asyncio.sleep(BETWEEN_FIXES_S)
        self.ended = True

    async def goes_on(self, fixes: int) -> None:
        """Wait until `fixes` more are acked, or as long if the token is revoked."""
        enough = self.acked + fixes
        await eventually(lambda: self.ended or self.acked >= enough)
        if self.ended:
            await asyncio.sleep(fixes * BETWEEN_FIXES_S)


@contextlib.asynccontextmanager
async def running(server: Server, token: str) -> AsyncIterator[RunningPhone]:
    """Publish as a phone does, in the background."""
    async with typed_client(server.ws_url, token) as client:
        phone = RunningPhone(client)
        async with in_background(phone.run()):
            yield phone


@contextlib.contextmanager
def started(setup: Setup) -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        env = {"SPECTATE_SOCKETS_A_VIEWER": "9999"}
        if setup == "three":
            env |= {
                "WORKERS": "3",
                "REDIS_URL": stack.enter_context(Redis()).url,
                "DATABASE_URL": shared_postgres().new_database(),
            }
        yield stack.enter_context(Server("uvicorn", **env))


async def revocation(server: Server, long: bool) -> RevocationReport:
    """Apply every change of rights to a group of spectators."""
    report = RevocationReport(long, 63 if long else 10)
    await Scenario(server, report).run()
    report.slowest_ms = max(report.last_position_ms.values())
    return report


if __name__ == "__main__":
    by_hand(revocation, SETUPS, started)
