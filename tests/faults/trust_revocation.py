"""Rights taken away in a shell, while many watch: how long does anything still come?

The long form is 504 sockets on three processes with Redis and PostgreSQL, then on one
process with neither.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson
from websockets.exceptions import ConnectionClosed

from tests.clients import typed_client
from tests.faults.peer import SUBPROTOCOLS, Peer, until
from tests.office import Office
from tests.servers import Server
from tests.services import Postgres, Redis

Setup = Literal["three", "alone"]
SETUPS: tuple[Setup, ...] = ("three", "alone")
# Nothing of the runner may come later than this after the commit. Seconds.
BOUND = 1.0
# How long it is watched whether something does. Seconds.
WATCHED = 3.0
# Of the runner. Seconds.
BETWEEN_FIXES = 0.2
HANDSHAKES_AT_A_TIME = 5
NOT_SIGNED_IN, NO_LONGER_ALLOWED = 4401, 4403

# Each scene has names of its own, so that several can be played at once.
RUNNER = """
import time
scenes = globals().setdefault('scenes', {{}})
from django.test import Client as Browser
bob = Runner.objects.create(code='{code}', name='Bob', visibility='{visibility}')
token, plain = RunnerToken.objects.issue(bob, name='phone')
print(plain)
scenes['{code}'] = dict(bob=bob, token=token)
"""
FOLLOWER = """
user = User.objects.create_user('{code}')
Follow.objects.create(user=user, runner=bob, status='accepted')
browser = Browser(); browser.force_login(user)
print(browser.cookies['sessionid'].value)
scenes['{code}'] = dict(bob=bob, user=user, browser=browser)
"""
LINK = """
link, plain = ShareLink.objects.issue(label='Mum', runners=[bob],
    expires_at=timezone.now() + timedelta(hours=1))
print(plain)
scenes['{code}'] = dict(bob=bob, link=link)
"""
# Whoever follows a race as a whole.
RACE = """
race = Race.objects.create(slug='{code}', name='Race', visibility='{listed}',
    start=timezone.now(), ends=timezone.now() + timedelta(hours=1))
Entry.objects.create(race=race, runner=bob, bib='1')
scenes['{code}'] = dict(bob=bob, race=race)
"""
LISTED_RACE = (
    RACE
    + """
user = User.objects.create_user('{code}')
browser = Browser(); browser.force_login(user)
print(browser.cookies['sessionid'].value)
scenes['{code}'] |= dict(user=user)
"""
)
UNLISTED_RACE = (
    RACE
    + """
link, plain = ShareLink.objects.issue(label='Mum', race=race,
    expires_at=timezone.now() + timedelta(hours=1))
print(plain)
scenes['{code}'] |= dict(link=link)
"""
)


@dataclass(frozen=True)
class Watched:
    """How a runner is watched: their visibility, and what a shell makes for it."""

    visibility: str
    setup: str = ""
    listed: str = "public"


WAYS = {
    "anybody": Watched("public"),
    "follower": Watched("followers", FOLLOWER),
    "link": Watched("private", LINK),
    "race": Watched("race", LISTED_RACE),
    "race link": Watched("race", UNLISTED_RACE, "link"),
}


@dataclass(frozen=True)
class Change:
    """What is done in a shell, to whom, and how the sockets end."""

    name: str
    code: str
    watched_by: Literal["anybody", "follower", "link", "race", "race link"]
    close: int | None = None
    # After how long it takes effect by the clock. Seconds.
    wait: float = 0.0


TOKEN_REVOKED = Change("token revoked", "token.revoke()", "anybody")
CHANGES = (
    TOKEN_REVOKED,
    Change("link revoked", "link.revoke()", "link", NO_LONGER_ALLOWED),
    Change(
        "link expired",
        "ShareLink.objects.filter(pk=link.pk).update("
        "expires_at=timezone.now() + timedelta(seconds=1.5))",
        "link",
        NO_LONGER_ALLOWED,
        1.5,
    ),
    Change("follower removed", "Follow.objects.filter(user=user).delete()", "follower"),
    Change(
        "visibility changed",
        "visibility_set(runner=bob, visibility='private')",
        "anybody",
    ),
    Change("signed out", "browser.logout()", "follower", NOT_SIGNED_IN),
    Change("account deleted", "account_delete(user=user)", "follower", NOT_SIGNED_IN),
    Change(
        "blocked, in a race",
        "Follow.objects.create(user=user, runner=bob, status='blocked')",
        "race",
    ),
    Change("link to a race revoked", "link.revoke()", "race link", NO_LONGER_ALLOWED),
    Change("runner deleted", "runner_delete(runner=bob)", "anybody"),
)


@dataclass
class RevocationReport:
    """For each change how long after it the last position came, in ms; the slowest
    close where sockets are closed."""

    setup: str
    # Of each change; all of them are open at once.
    watchers: int
    last_position_ms: dict[str, int] = field(default_factory=dict)
    closed_ms: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def slowest_ms(self) -> int:
        return max(self.last_position_ms.values())

    def faults(self, bound: float = BOUND) -> list[str]:
        late = [
            f"{name}: a position {ms} ms later"
            for name, ms in self.last_position_ms.items()
            if ms > bound * 1000
        ]
        return self.wrong + late


class Watcher(Peer):
    """Follows a runner and notes when it heard of them last."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self.headers = headers
        self.positions = 0
        self.heard_at = 0.0
        # When a fix came that is newer than all before.
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
            # Of the seed dialect, which sends no old ones.
            self.heard(self.newest + 1)
        elif message.get("type") == "positions" and message["fixes"]:
            self.heard(message["fixes"][-1][1])
        elif message.get("type") == "late":
            self.heard(message["fixes"][-1][0])

    def heard(self, t: float) -> None:
        self.positions += 1
        self.heard_at = time.time()
        if t > self.newest:
            self.newest, self.newer_at = t, self.heard_at

    def connection_lost(self, error: Exception | None) -> None:
        self.closed_at = time.time()
        super().connection_lost(error)


class Scenario:
    def __init__(
        self, server: Server, office: Office, report: RevocationReport
    ) -> None:
        self.server = server
        self.office = office
        self.report = report
        self.number = itertools.count()
        self.one_at_a_time = asyncio.Lock()
        self.everybody_watches = asyncio.Barrier(len(CHANGES))

    async def do(self, code: str) -> str:
        async with self.one_at_a_time:
            return await self.office.do(code)

    async def run(self) -> None:
        await asyncio.gather(*map(self.take_away, CHANGES))

    async def take_away(self, change: Change) -> None:
        code = f"bob-{next(self.number)}"
        way = WAYS[change.watched_by]
        setup = (RUNNER + way.setup).format(
            code=code, visibility=way.visibility, listed=way.listed
        )
        token, *more = (await self.do(setup)).split()
        headers: dict[str, str] = {}
        follow: dict[str, Any] = {"runners": [code]}
        if change.watched_by in ("follower", "race"):
            headers = {"Origin": self.server.url, "Cookie": f"sessionid={more[0]}"}
        if change.watched_by == "race":
            follow = {"races": [code]}
        elif change.watched_by in ("link", "race link"):
            follow = {"share": more[0]}
        async with running(self.server, token):
            watchers = await self.open(code, headers, follow)
            try:
                # A crowd that comes at once is another matter.
                await self.everybody_watches.wait()
                await self.monitor(change, code, watchers)
            finally:
                for watcher in watchers:
                    watcher.reset()

    async def open(
        self, code: str, headers: dict[str, str], follow: dict[str, Any]
    ) -> list[Watcher]:
        gate = asyncio.Semaphore(HANDSHAKES_AT_A_TIME)

        async def watcher(number: int) -> Watcher:
            watcher = Watcher(headers)
            # Links and races are a matter of the typed dialect.
            dialect = "v1" if "runners" not in follow or number % 2 else "seed"
            async with gate:
                await watcher.open(self.server.ws_url + "/", SUBPROTOCOLS[dialect])
                if dialect == "v1":
                    watcher.send({"type": "follow", "tick": 0} | follow)
                else:
                    watcher.send({"initialRequest": True, "following": [code]})
                await until(lambda: watcher.positions > 0, 30)
            return watcher

        watchers = await asyncio.gather(*map(watcher, range(self.report.watchers)))
        if not await until(lambda: all(w.positions > 1 for w in watchers), 30):
            silent = sum(w.positions <= 1 for w in watchers)
            self.report.wrong.append(f"{silent} sockets saw nothing of {code}")
        return watchers

    async def monitor(self, change: Change, code: str, watchers: list[Watcher]) -> None:
        printed = await self.do(
            f"globals().update(scenes['{code}'])\n{change.code}\nprint(time.time())"
        )
        # Our own clock: the shell is on the same machine.
        since = float(printed.splitlines()[-1]) + change.wait
        await asyncio.sleep(change.wait + WATCHED)
        # A token's end takes nothing away of what was taken before.
        old_too = change is not TOKEN_REVOKED
        last = max(w.heard_at if old_too else w.newer_at for w in watchers)
        self.report.last_position_ms[change.name] = max(0, round((last - since) * 1000))
        if min(watcher.heard_at for watcher in watchers) < since - 2:
            self.report.wrong.append(f"{change.name}: not everybody was watching")
        codes = {w.closed.result() if w.closed.done() else None for w in watchers}
        if codes != {change.close}:
            self.report.wrong.append(f"{change.name}: closed with {codes}")
        elif change.close is not None:
            closed = max(watcher.closed_at for watcher in watchers)
            self.report.closed_ms[change.name] = round((closed - since) * 1000)


@contextlib.asynccontextmanager
async def running(server: Server, token: str) -> AsyncIterator[None]:
    """Publish as a phone does, for as long as the token lasts."""
    async with typed_client(server.ws_url, token) as phone:

        async def run() -> None:
            with contextlib.suppress(ConnectionClosed):
                for number in itertools.count():
                    t = int(time.time() * 1000)
                    fix = {"t": t, "lat": 48 + number / 1e4, "lng": 2}
                    await phone.say(type="publish", fixes=[fix])
                    await asyncio.sleep(BETWEEN_FIXES)

        task = asyncio.create_task(run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def started(setup: Setup) -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        env = {"SPECTATE_SOCKETS_A_VIEWER": "9999"}
        if setup == "three":
            env |= {
                "WORKERS": "3",
                "REDIS_URL": stack.enter_context(Redis()).url,
                "DATABASE_URL": stack.enter_context(Postgres()).new_database(),
            }
        yield stack.enter_context(Server("uvicorn", **env))


async def revocation(server: Server, setup: Setup, watchers: int) -> RevocationReport:
    """Take every right away from a shell, each from that many who watch."""
    report = RevocationReport(setup, watchers)
    office = Office(server)
    try:
        await Scenario(server, office, report).run()
    finally:
        office.close()
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="what figures come from")
    parser.add_argument("--setup", choices=SETUPS, help="only this one")
    options = parser.parse_args()
    failed = False
    for setup in [options.setup] if options.setup else SETUPS:
        with started(setup) as server:
            report = asyncio.run(revocation(server, setup, 63 if options.long else 10))
            server.stop()
            faults = report.faults()
            if "Traceback" in server.log:
                faults.append(server.log)
        line = {
            **asdict(report),
            "slowest_ms": report.slowest_ms,
            "load_average": os.getloadavg()[0],
        }
        print(orjson.dumps(line).decode(), flush=True)
        print("\n".join(faults) or "as it must be", flush=True)
        failed |= bool(faults)
    sys.exit(failed)
