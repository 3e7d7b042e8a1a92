"""Runs the race of a world, and records what all viewers get."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command
from django.test import override_settings

from runners import database
from runners.intake.endpoint import APPS
from runners.live.layer import LocalLayer
from runners.notifying import push_services
from runners.notifying.endpoints import Answer
from runners.preferences.runner_settings import positions_erase
from runners.serving.logs import MaskSecrets
from runners.serving.process import Process, build
from tests.trust.worlds.frozen import Chance, FrozenLoop, freeze, store_without_thread
from tests.trust.worlds.record import (
    SETTLED_S,
    Record,
    Socket,
    Visitor,
    queries_read,
    report,
)
from tests.trust.worlds.scene import (
    CODES,
    HIDDEN_FROM_S,
    PUBLISHING,
    STAFF,
    VISIBLE,
    Scene,
    World,
    make_scene,
)
from tests.trust.worlds.urls import paths, patterns

# When the processes of the two worlds have been up for days: so far apart that no limit
# remembers the first world, and rounded alike.
UPTIMES_S = (5 * 2.0**20, 6 * 2.0**20)
# Whitenoise serves static files only, and reads them all at the start.
MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
LIVE_FROM_S = 2_400
HISTORY_STEP_S = 60
LIVE_STEPS = 6
LIVE_STEP_S = 2.0
# Who follows on sockets, and who requests pages.
SPECTATORS = ("stranger", "ann", "max", "fan")
VISITORS = ("stranger", "ann", "marshal", "fan", "private", "office")
# The routes that show hidden places to those who have the right.
SHOWS: dict[str, frozenset[str]] = {
    "fan": frozenset(
        {
            "live.json",
            "races/<slug:slug>/replay.json",
            "races/<slug:slug>/eta.json",
            "races/<slug:slug>/standings/",
            "races/<slug:slug>/standings.json",
            "races/<slug:slug>/standings.csv",
            "races/<slug:slug>/runners/<path:bib>/",
            "runners/<code:code>/track.json",
            "runners/<code:code>/track.gpx",
        }
    ),
    "private": frozenset({"me/", "me/positions.json", "me/positions.gpx"}),
    "office": frozenset(
        {
            "admin/runners/race/<int:pk>/desk.json",
            "admin/runners/race/<int:pk>/accounted/",
            "admin/runners/race/<int:pk>/accounted.csv",
            "admin/runners/position/",
            "admin/runners/latestposition/",
            "admin/runners/split/",
        }
    ),
}
# What each of them follows.
FOLLOWS: dict[str, dict[str, Any]] = {
    "runners": {"runners": list(CODES), "tick": 0},
    "public": {"public": True, "tick": 0},
    "race": {"races": ["ten"], "tick": 500},
    "race link": {"share": "race", "tick": 0},
}
# The messages with which a viewer tries each command.
COMMANDS: dict[str, list[dict[str, Any]]] = {
    "follow": [{"runners": [code], "since": 1} for code in CODES],
    "publish": [{"fixes": [{"t": 1, "lat": 48, "lng": 2}]}],
    "cheer": [{"runner": code, "text": "Go!"} for code in CODES],
    "sos": [{"time": 1, "fix": None}],
    "ping": [{}],
    "unfollow": [{"runners": list(CODES)}],
    # The last one, because it closes the socket.
    "auth": [{"token": "x"}],
}


def play(world: World) -> Play:
    """Play a world in an empty database; return what happened."""
    call_command("flush", verbosity=0, interactive=False, reset_sequences=True)
    mail.outbox.clear()
    cache.clear()
    with (
        asyncio.Runner(loop_factory=FrozenLoop) as runner,
        pytest.MonkeyPatch.context() as patch,
        override_settings(MIDDLEWARE=MIDDLEWARE),
        logged() as log,
    ):
        loop = runner.get_loop()
        assert isinstance(loop, FrozenLoop)
        chance = freeze(patch, loop, UPTIMES_S[world])
        chance.seed("rows")
        played = Play(make_scene(world), patch, loop, chance)
        runner.run(played.run())
        played.visit_all()
        runner.run(played.stop())
        played.record.add("operator", "log", "\n".join(log))
    return played


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect the lines of the log, as a server writes them."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(MaskSecrets())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class Play:
    """One run of a world."""

    def __init__(
        self, scene: Scene, patch: pytest.MonkeyPatch, loop: FrozenLoop, chance: Chance
    ) -> None:
        self.scene = scene
        self.record = Record()
        self.commands: set[str] = set()
        # Fields that views read from queries, by route.
        self.fields: dict[str, set[str]] = {}
        self._chance = chance
        self._patch = patch
        self._loop = loop
        self._phones: dict[str, Socket] = {}
        self._seed_phones: dict[str, Socket] = {}
        self._spectators: list[Socket] = []

    async def run(self) -> None:
        process = self._process = build(LocalLayer())
        store_without_thread(self._patch, process.recorder, self._loop)
        self._patch.setattr(push_services, "post", self._push)
        await self._watch("early")
        await self._history()
        await self._calls_for_help()
        await self._live()
        await self._notify(process)
        await self._watch("late", since=self._ms(HIDDEN_FROM_S - 60))
        await self._command()
        await self._wrong_reports()

    async def stop(self) -> None:
        for socket in self._spectators + [
            *self._phones.values(),
            *self._seed_phones.values(),
        ]:
            await socket.close()
        await self._process.stop()
        database.close_connections()

    def _ms(self, seconds: float) -> int:
        """Return a time in seconds since the start as milliseconds."""
        return round(self.scene.start.timestamp() * 1000 + seconds * 1000)

    @property
    def _seconds(self) -> float:
        return time.time() - self.scene.start.timestamp()

    # -- phones

    async def _history(self) -> None:
        """Publish the race so far. One runner then erases it."""
        for code in PUBLISHING:
            viewer = "ann" if code in VISIBLE else f"phone of {code}"
            token = self.scene.tokens[code]
            phone = self._phones[code] = Socket(self.record, viewer, f"phone {code}")
            await phone.open(token=token)
            fixes = [self._fix(code, s) for s in range(0, LIVE_FROM_S, HISTORY_STEP_S)]
            await phone.send(type="publish", id=1, fixes=fixes)
            seed = Socket(self.record, viewer, f"seed phone {code}", typed=False)
            await seed.open(token=token)
            self._seed_phones[code] = seed
            # A changed status makes all topics read the database, of whomever it is.
            await asyncio.sleep(SETTLED_S)
        await asyncio.to_thread(positions_erase, runner=self.scene.runners["erased"])
        await asyncio.sleep(SETTLED_S)

    def _fix(self, code: str, seconds: float) -> dict[str, Any]:
        lat, lng = self.scene.place(code, seconds)
        return {"t": self._ms(seconds), "lat": lat, "lng": lng, "accuracy": 5}

    async def _live(self) -> None:
        """Publish in turn by each kind of door for phones."""
        for step in range(LIVE_STEPS):
            await asyncio.sleep(LIVE_STEP_S)
            for code in PUBLISHING:
                fix = self._fix(code, self._seconds)
                if code == "erased":
                    # Kept by the phone from before.
                    fix["t"] -= 600_000
                if code == "erased" or (code == "held" and step == 2):
                    fix["lat"], fix["lng"] = self.scene.hidden_place(code)
                await self._publish(code, fix, step)
        await asyncio.sleep(SETTLED_S)

    async def _publish(self, code: str, fix: dict[str, Any], step: int) -> None:
        match step % 3:
            case 0:
                await self._phones[code].send(type="publish", id=step, fixes=[fix])
            case 1:
                seed = {"time": fix["t"], "lat": fix["lat"], "lng": fix["lng"]}
                await self._seed_phones[code].send(userId=code, **seed)
            case _:
                query = "lat={lat}&lon={lng}&timestamp={t}".format_map(fix)
                viewer = "ann" if code in VISIBLE else f"phone of {code}"
                token = self.scene.tokens[code]
                await report(self.record, viewer, "osmand", token, query)

    async def _calls_for_help(self) -> None:
        """Call from a hidden place each; some calls are withdrawn."""
        for code in ("bob", "private", "paused"):
            lat, lng = self.scene.hidden_place(code)
            now = self._ms(self._seconds)
            call = {
                "type": "sos",
                "time": now,
                "fix": {"t": now, "lat": lat, "lng": lng},
            }
            await self._phones[code].send(**call, id="first")
            if code != "paused":
                await asyncio.sleep(SETTLED_S)
                await self._phones[code].send(**call, id="first", fine=True)
        await self._phones["private"].send(**call, id="second")

    async def _wrong_reports(self) -> None:
        for app in APPS:
            query = "lat=48&lon=2&timestamp=1"
            await report(self.record, "stranger", app, "x", query)
            await report(self.record, "ann", app, self.scene.tokens["ann"], query)

    # -- notifications

    async def _notify(self, process: Process) -> None:
        """Deliver all news."""
        turns = process.notifier.push_turn, process.notifier.mail_turn
        # Without a wait between, because the number of turns may be a hidden one.
        while any([await asyncio.to_thread(turn) for turn in turns]):
            pass
        for message in mail.outbox:
            (address,) = message.to
            self._chance.seed(address)
            viewer = address.partition("@")[0].partition("-")[0]
            self.record.add(viewer, "mail", message.message().as_string())

    async def _push(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        viewer = urlsplit(url).path.strip("/")
        kept = {k: v for k, v in headers.items() if k != "Authorization"}
        text = self.scene.browsers[viewer].read(body)
        self.record.add(viewer, "push", json.dumps([kept, text]))
        return Answer(201, 0)

    # -- spectators

    async def _watch(self, when: str, **more: Any) -> None:
        """Open a socket of each kind, and follow."""
        for viewer in SPECTATORS:
            cookie = self.scene.cookies.get(viewer, "")
            for what, follow in FOLLOWS.items():
                socket = Socket(self.record, viewer, f"socket, {what}, {when}")
                await socket.open(cookie=cookie)
                links = {
                    k: self.scene.links[v] for k, v in follow.items() if k == "share"
                }
                await socket.send(type="follow", **follow | links | more)
                self._spectators.append(socket)
            seed = Socket(self.record, viewer, f"seed socket, {when}", typed=False)
            await seed.open(cookie=cookie)
            await seed.send(initialRequest=True, following=list(CODES))
            self._spectators.append(seed)
        await asyncio.sleep(SETTLED_S)

    async def _command(self) -> None:
        """Try each command of a websocket."""
        for viewer in SPECTATORS:
            socket = Socket(self.record, viewer, "commands")
            await socket.open(cookie=self.scene.cookies.get(viewer, ""))
            for command, messages in COMMANDS.items():
                for number, message in enumerate(messages):
                    await socket.send(type=command, id=f"{command} {number}", **message)
            self._spectators.append(socket)
        await asyncio.sleep(SETTLED_S)

    def visit_all(self) -> None:
        """Request every address of the URLconf, as each viewer."""
        visitors = {
            viewer: Visitor(self.record, viewer, self.scene, self._chance)
            for viewer in VISITORS
        }
        for route in patterns():
            with queries_read() as read:
                for path in paths(route, self.scene):
                    for viewer, visitor in visitors.items():
                        if is_visited(route, viewer):
                            visitor.visit(route, path)
            self.fields[route] = read


def is_visited(route: str, viewer: str) -> bool:
    """Return whether a viewer requests a route."""
    if viewer in SHOWS:
        return route in SHOWS[viewer]
    if route.startswith("s/"):
        # The rights of a share link do not depend on an account.
        return viewer == "stranger"
    return (viewer in STAFF) == route.startswith("admin/")
