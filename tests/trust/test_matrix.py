"""Rights to see and to publish, for every combination of credentials.

On uvicorn's sockets all combinations. Of pages, which are Django's alone, and of
Daphne's sockets, which differ in the handshake, a quarter of them with every pair of an
origin and another credential: `make test-rights` takes all of them there too.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from runners.models import Entry, RunnerToken
from tests.clients import UNREAD, Client
from tests.factories.people import (
    make_follow,
    make_phone,
    make_runner,
    make_session,
    make_token,
    make_user,
)
from tests.factories.positions import stored_times
from tests.factories.races import make_bare_race
from tests.faults.trust_revocation import RunningPhone, running
from tests.servers import Kind, Server, checked
from tests.trust.matrix import (
    PAGES,
    SEED,
    TYPED,
    VISIBILITIES,
    Action,
    Visibility,
    Visitor,
    expected,
    pairs_with_origins,
    visitors,
)
from tests.waiting import PATIENCE_S, within

ALL = os.environ.get("RIGHTS") == "all"
CONCURRENT_VISITORS = 40
# Requests all runners at once: visitors with the same credentials share the response.
LIVE_PATH = "/live.json?public=1&race=on&runners=" + ",".join(
    f"run-{visibility}" for visibility in VISIBILITIES
)


@dataclass
class MatrixKeys:
    """Credentials of visitors: cookies by owner and visibility, and tokens."""

    cookies: dict[str, str] = field(default_factory=dict)
    owners: dict[Visibility, str] = field(default_factory=dict)
    another: str = ""
    pulses: dict[Visibility, str] = field(default_factory=dict)
    right: dict[Visibility, str] = field(default_factory=dict)
    revoked: dict[Visibility, str] = field(default_factory=dict)


def make_keys() -> MatrixKeys:
    """Make a runner of each visibility, and users of whom some may see them."""
    now, day = timezone.now(), timedelta(days=1)
    keys = MatrixKeys(another=make_phone("another"))
    users = {name: make_user(name) for name in ("stranger", "follower", "blocked")}
    keys.cookies = {name: make_session(user) for name, user in users.items()}
    ends = {"race_on": now + day, "race_over": now - timedelta(seconds=1)}
    for visibility in VISIBILITIES:
        owner = make_user(f"owner-{visibility}")
        runner = make_runner(
            f"run-{visibility}", visibility=visibility.partition("_")[0], account=owner
        )
        keys.owners[visibility] = make_session(owner)
        make_follow(users["follower"], runner)
        make_follow(users["blocked"], runner, "blocked")
        if visibility in ends:
            slug = visibility.removeprefix("race_")
            race = make_bare_race(slug, ends[visibility] - day, hours=24)
            Entry.objects.create(race=race, runner=runner, bib="1")
        keys.pulses[visibility] = make_token(runner)
        keys.right[visibility] = make_token(runner)
        row, keys.revoked[visibility] = RunnerToken.objects.issue(runner, name="phone")
        row.revoke()
    return keys


class World:
    """A server with a runner of each visibility, and the credentials of visitors."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.keys = server.database(make_keys)
        everybody, quarter = list(visitors()), list(pairs_with_origins())
        # Django alone answers pages, so one kind of server is enough.
        has_pages = server.kind == "uvicorn"
        self.sockets = everybody if ALL or has_pages else quarter
        self.pages = (everybody if ALL else quarter) if has_pages else []
        self.cells = [
            *itertools.product(self.sockets, SEED + TYPED),
            *itertools.product(self.pages, PAGES),
        ]
        self.found: dict[tuple[Visitor, Action], str] = {}
        self.phones: dict[Visibility, RunningPhone] = {}
        # Cells by the time of the fix that they tried to publish.
        self.tried: dict[int, tuple[Visitor, Action]] = {}
        self._times = itertools.count(int(time.time() * 1000) - 3_600_000)
        self._addresses = itertools.count(1)

    def headers(self, visitor: Visitor) -> dict[str, str]:
        origin = {
            "own": self.server.url,
            "foreign": "https://elsewhere.example",
            "null": "null",
        }.get(visitor.origin)
        keys = self.keys
        cookie = {**keys.cookies, "owner": keys.owners[visitor.visibility]}.get(
            visitor.cookie
        )
        token = {
            "right": keys.right[visitor.visibility],
            "revoked": keys.revoked[visitor.visibility],
            "another": keys.another,
            "garbage": "garbage",
        }.get(visitor.token)
        return {
            name: value
            for name, value in (
                ("Origin", origin),
                ("Cookie", cookie and f"sessionid={cookie}"),
                ("Authorization", token and f"Bearer {token}"),
            )
            if value
        }

    def try_to_publish(self, visitor: Visitor, action: Action) -> dict[str, Any]:
        """Return a past fix whose time identifies its cell in the database."""
        t = next(self._times)
        self.tried[t] = visitor, action
        return {"t": t, "time": t, "lat": 48, "lng": 7}

    @contextlib.asynccontextmanager
    async def visit(
        self, visitor: Visitor, subprotocol: str | None
    ) -> AsyncIterator[ClientConnection]:
        # A different address each time, because wrong tokens delay the address.
        number = next(self._addresses)
        async with connect(
            self.server.ws_url,
            additional_headers=self.headers(visitor),
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            local_addr=(f"127.1.{number // 200}.{number % 200 + 1}", 0),
            compression=None,
            open_timeout=PATIENCE_S,
            **UNREAD,
        ) as connection:
            yield connection

    # -- dialects

    async def seed(self, visitor: Visitor) -> None:
        follow, publish = SEED
        with self.ends(visitor, SEED):
            async with self.visit(visitor, None) as socket:
                # Sending to a socket that the server has closed would lose the close
                # frame.
                await Client(socket).received()
                fix = self.try_to_publish(visitor, publish)
                for command in (
                    {"initialRequest": True, "following": [code_of(visitor)]},
                    fix | {"userId": code_of(visitor)},
                    {"initialRequest": True, "following": ["a barrier"]},
                ):
                    await socket.send(json.dumps(command))
                shown = False
                while True:
                    message = await receive(socket)
                    if "error" not in message:
                        shown = True
                        continue
                    if "a barrier" in message["detail"]:
                        break
                    of_follow = message["detail"].startswith(f"{code_of(visitor)}: ")
                    action = follow if of_follow else publish
                    self.found[visitor, action] = message["error"]
                await self.listen(socket, visitor, follow, shown, lambda m: "lat" in m)

    async def typed(self, visitor: Visitor) -> None:
        follow, snapshot, publish, topic = TYPED
        with self.ends(visitor, TYPED):
            async with self.visit(visitor, "spectate.v1") as socket:
                await receive(socket)  # the welcome
                fix = self.try_to_publish(visitor, publish)
                for command in (
                    {
                        "type": "follow",
                        "runners": [code_of(visitor)],
                        "tick": 0,
                        "since": fix["t"] - 1_000_000,
                        "id": "follow",
                    },
                    {"type": "publish", "fixes": [fix], "id": "publish"},
                    {"type": "follow", "public": True, "id": "public"},
                    {"type": "follow", "races": ["on", "over"], "id": "races"},
                ):
                    await socket.send(json.dumps(command))
                shown = False
                answers: dict[str, set[str]] = {}
                while answers.keys() < {"follow", "publish", "public", "races"}:
                    message = await receive(socket)
                    # Later it may also arrive through the topics.
                    if is_of(message, code_of(visitor)) and not answers:
                        shown = True
                    id_ = message.get("id")
                    if id_ is None:
                        continue
                    if message["type"] == "error":
                        cell = {"follow": follow, "publish": publish}[id_]
                        self.found[visitor, cell] = message["code"]
                    if message["type"] == "snapshot":
                        positioned = {r["code"] for r in message["runners"] if r["fix"]}
                        answers.setdefault(id_, set()).update(positioned)
                    elif id_ == "publish":
                        answers[id_] = set()
                for cell, codes in (
                    (snapshot, answers["follow"]),
                    (topic, answers["public"] | answers["races"]),
                ):
                    is_shown = code_of(visitor) in codes
                    self.found[visitor, cell] = "shown" if is_shown else "absent"
                # From here on only the single runner is followed.
                await socket.send(
                    json.dumps(
                        {
                            "type": "unfollow",
                            "public": True,
                            "races": ["on", "over"],
                        }
                    )
                )
                while (await receive(socket))["type"] != "unfollowed":
                    pass
                await self.listen(
                    socket,
                    visitor,
                    follow,
                    shown and (visitor, follow) in self.found,
                    lambda m: is_of(m, code_of(visitor)),
                )

    @contextlib.contextmanager
    def ends(self, visitor: Visitor, actions: Iterable[Action]) -> Any:
        """Record for all actions that the socket never opened or was closed."""
        try:
            yield
            return
        except InvalidStatus as refusal:
            outcome = f"HTTP {refusal.response.status_code}"
        except ConnectionClosed as closed:
            outcome = f"closed {closed.rcvd.code if closed.rcvd else None}"
        for action in actions:
            self.found[visitor, action] = outcome

    async def listen(
        self,
        socket: ClientConnection,
        visitor: Visitor,
        follow: Action,
        shown: bool,
        is_position: Any,
    ) -> None:
        """Wait for a position, or after a refused follow, for the runner's next fixes.

        A position would arrive before the answer to a message that is sent once these
        are stored.
        """
        refused = (visitor, follow) in self.found
        if refused:
            # The first of them may have been sent before.
            await self.phones[visitor.visibility].goes_on(2)
            came = await Client(socket).received()
            shown = shown or any(map(is_position, came))
        else:
            with contextlib.suppress(TimeoutError):
                while not shown:
                    shown = is_position(await receive(socket))
        if shown:
            # Overrides an error for the follow.
            self.found[visitor, follow] = "live"
        elif not refused:
            self.found[visitor, follow] = "silent"

    # -- pages

    def visit_pages(self, visits: Iterable[Visitor]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        # Cells with the same request share an answer.
        answers: dict[str, tuple[int, str]] = {}
        for visitor in visits:
            code = code_of(visitor)
            for action, path in zip(
                PAGES,
                (
                    f"/runners/{code}/",
                    f"/runners/{code}/track.json",
                    "/",
                    LIVE_PATH,
                ),
                strict=True,
            ):
                headers = self.headers(visitor)
                request = f"{path} {headers}"
                if request not in answers:
                    connection.request("GET", path, headers=headers)
                    response = connection.getresponse()
                    answers[request] = response.status, response.read().decode()
                status, body = answers[request]
                outcome = str(status)
                if action == "home" and status == 200:
                    named = f'"{code}"' in body or f"/{code}/" in body
                    outcome = "named" if named else "not named"
                elif action == "live.json" and status == 200:
                    codes = [item["code"] for item in json.loads(body)["runners"]]
                    outcome = "shown" if code in codes else "absent"
                elif action == "track" and status == 200:
                    assert json.loads(body)["points"]
                self.found[visitor, action] = outcome
        connection.close()

    # -- all cells

    async def run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for visibility, token in self.keys.pulses.items():
                phone = await stack.enter_async_context(running(self.server, token))
                await phone.goes_on(1)
                self.phones[visibility] = phone
            gate = asyncio.Semaphore(CONCURRENT_VISITORS)

            async def behind_gate(visitor: Visitor) -> None:
                async with gate:
                    await self.seed(visitor)
                    await self.typed(visitor)

            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(1) as pool:
                pages = loop.run_in_executor(pool, self.visit_pages, self.pages)
                await asyncio.gather(*map(behind_gate, self.sockets), pages)
        stored = await self.server.adatabase(stored_times, lng=7)
        for code, times in stored.items():
            for visitor, action in map(self.tried.__getitem__, times):
                runner = "the runner" if code == code_of(visitor) else code
                # Overrides an error for the publication.
                self.found[visitor, action] = f"stored as {runner}"


def code_of(visitor: Visitor) -> str:
    return f"run-{visitor.visibility}"


async def receive(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await within(socket.recv()))
    return message


def is_of(message: dict[str, Any], code: str) -> bool:
    """Return whether a message has a position of the runner."""
    if message["type"] == "positions":
        return any(row[0] == code for row in message["fixes"])
    return bool(message["type"] == "late" and message["runner"] == code)


@pytest.fixture(scope="module")
def matrix_server(server_kind: Kind) -> Any:
    # A few users and tokens open hundreds of sockets.
    limits = {"SPECTATE_SOCKETS_A_VIEWER": "9999", "SPECTATE_SOCKETS_A_TOKEN": "9999"}
    yield from checked(Server(server_kind, **limits))


async def test_every_cell_has_its_expected_outcome(matrix_server: Server) -> None:
    world = World(matrix_server)
    start = time.monotonic()
    await world.run()
    wrong = {
        (*visitor, action): (
            world.found.get((visitor, action)),
            expected(visitor, action),
        )
        for visitor, action in world.cells
        if world.found.get((visitor, action)) != expected(visitor, action)
    }
    print(
        f"{len(world.found):,} cells on {matrix_server.kind} "
        f"in {time.monotonic() - start:.0f} s: {Counter(world.found.values())}"
    )
    assert not wrong, (
        f"{len(wrong)} (actual, expected): {dict(list(wrong.items())[:20])}"
    )
    assert world.found.keys() == set(world.cells)
