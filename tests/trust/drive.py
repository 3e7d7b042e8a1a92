"""Runners that publish through every door for phones, and spectators of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import json
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed

from runners.models import Entry, Runner
from runners.preferences.runner_settings import zone_add
from runners.units.clock import now_ms
from tests.clients import Client, seed_client, typed_client
from tests.factories.people import (
    Keys,
    make_link,
    make_runner,
    make_session,
    make_token,
    make_user,
)
from tests.factories.races import make_bare_race
from tests.servers import Server
from tests.trust.doors import APPS, Doors
from tests.trust.places import Places

CODES = ("zoned", "private", "paused", "ended", "erased", "rezoned")


@dataclass
class Cast(Keys):
    """Runners by their codes, with their tokens, cookies and share links."""

    runners: dict[str, Runner] = field(default_factory=dict)


def make_cast() -> Cast:
    """Make runners with accounts, in a race, and share links to all public ones."""
    cast = Cast()
    race = make_bare_race("on", hours=24)
    for code in CODES:
        user = make_user(code)
        visibility = "private" if code == "private" else "public"
        runner = make_runner(code, visibility=visibility, account=user)
        Entry.objects.create(race=race, runner=runner, bib=code)
        cast.runners[code] = runner
        cast.tokens[code] = make_token(runner)
        cast.cookies[code] = make_session(user)
    named = [runner for code, runner in cast.runners.items() if code != "private"]
    cast.links["runners"] = make_link(*named)[1]
    cast.links["race"] = make_link(race=race)[1]
    cast.links["pin"] = make_link(*named, pin="473829")[1]
    zone_add(
        runner=cast.runners["zoned"],
        name="Home",
        lat=61.49876,
        lng=11.49876,
        radius=5_000,
    )
    return cast


class Listener:
    """A spectator that records every text it receives."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.received: list[str] = []
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.client.connection:
                self.received.append(str(text))


class Witness:
    """Follows a runner whose name changes, to detect when changes are in force.

    The access monitor applies changes in order and notifies followers last.
    """

    def __init__(self, server: Server, client: Client, runner: Runner) -> None:
        self.server, self.client, self.runner = server, client, runner
        self._numbers = itertools.count(1)

    async def sees_changes(self) -> None:
        """Wait until all changes committed so far are in force on every socket."""
        name = self.runner.name = f"Witness {next(self._numbers)}"
        await self.server.adatabase(self.runner.save)
        await self.client.receive_until(
            lambda m: m.get("change") == "changed" and m["runner"]["name"] == name
        )


class Drive(Doors):
    """Publishes for the runners, and opens spectators and pages."""

    def __init__(self, server: Server, cast: Cast) -> None:
        super().__init__(server, cast)
        self.places = Places()
        self.last_t = now_ms() - 200_000

    def token(self, code: str) -> str:
        return self.keys.tokens[code]

    # -- publishing

    def next_t(self) -> int:
        """Return a new time in ms, in whole seconds as some apps require."""
        self.last_t += 1000
        return self.last_t - self.last_t % 1000

    async def typed(self, code: str, t: int, place: tuple[float, float]) -> None:
        async with typed_client(self.server.ws_url, self.token(code)) as phone:
            fix = {"t": t, "lat": place[0], "lng": place[1]}
            await phone.send(type="publish", fixes=[fix], id=1)
            answer = await phone.receive_until(lambda m: m.get("id") == 1)
            self.record("typed replies", json.dumps(answer))

    async def seed(self, code: str, t: int, place: tuple[float, float]) -> None:
        url = f"{self.server.ws_url}/?token={self.token(code)}"
        async with seed_client(url) as phone:
            await phone.send(userId=code, lat=place[0], lng=place[1], time=t)
            await phone.send(initialRequest=True, following=["no such"])
            self.record("seed replies", json.dumps(await phone.receive()))

    async def app(
        self, app: str, code: str, t: int, place: tuple[float, float]
    ) -> None:
        lat, lng = place
        moment = datetime.datetime.fromtimestamp(t / 1000, datetime.UTC).isoformat()
        body: Any = None
        query = ""
        match app:
            case "owntracks":
                body = {"_type": "location", "lat": lat, "lon": lng, "tst": t // 1000}
            case "overland":
                feature = {
                    "type": "Feature",
                    "geometry": {"type": "Point", "coordinates": [lng, lat]},
                    "properties": {"timestamp": moment},
                }
                body = {"locations": [feature]}
            case "gpslogger":
                query = f"?lat={lat}&lon={lng}&time={urllib.parse.quote(moment)}"
            case _:
                query = f"?lat={lat}&lon={lng}&timestamp={t // 1000}"
        await self.get(
            f"{app} replies", f"/intake/{app}/{self.token(code)}/{query}", body=body
        )

    async def everywhere(self, what: str, code: str, **where: float) -> None:
        """Publish a different place through every door for phones."""
        for dialect in (self.seed, self.typed):
            place = self.places.make(f"{what}, {dialect.__name__}", **where)
            await dialect(code, self.next_t(), place)
        for app in APPS:
            place = self.places.make(f"{what}, {app}", **where)
            await self.app(app, code, self.next_t(), place)

    # -- watching

    async def witness(self, stack: contextlib.AsyncExitStack) -> Witness:
        runner = await self.server.adatabase(make_runner, "witness")
        client = await stack.enter_async_context(typed_client(self.server.ws_url))
        await client.send(type="follow", runners=["witness"])
        await client.receive_type("snapshot")
        return Witness(self.server, client, runner)

    async def open_listeners(
        self, stack: contextlib.AsyncExitStack
    ) -> dict[str, Listener]:
        """Open a spectator of every kind."""
        url, since = self.server.ws_url, now_ms() - 600_000
        seed = await stack.enter_async_context(seed_client(url))
        await seed.send(initialRequest=True, following=list(CODES))
        listeners = {"seed": Listener(seed)}
        follows: dict[str, dict[str, Any]] = {
            "typed, one by one": {"runners": list(CODES), "tick": 0},
            "typed, at a tick": {"runners": list(CODES), "tick": 500},
            "typed, since": {"runners": list(CODES), "since": since, "tick": 0},
            "typed, public": {"public": True, "tick": 0},
            "typed, public since": {"public": True, "since": since},
            "typed, race": {"races": ["on"], "tick": 0},
            "typed, race since": {"races": ["on"], "since": since},
            "typed, link": {"share": self.keys.links["runners"], "tick": 0},
            "typed, race link": {"share": self.keys.links["race"], "tick": 0},
            "typed, link since": {
                "share": self.keys.links["pin"],
                "pin": "473829",
                "since": since,
            },
        }
        for name, follow in follows.items():
            client = await stack.enter_async_context(typed_client(url))
            await client.send(type="follow", **follow)
            listeners[name] = Listener(client)
        return listeners

    async def read_pages(self) -> None:
        links = self.keys.links
        await self.get("live page", "/")
        await self.get("race page", "/races/on/")
        named = "&runners=" + ",".join(CODES)
        for name, query in {
            "live.json": "?public=1&race=on" + named,
            "live.json, since": "?public=1&race=on&since=1" + named,
        }.items():
            await self.get(name, "/live.json" + query)
            for link in (links["runners"], links["race"]):
                share = {"Spectate-Share": link}
                await self.get(f"{name}, link", "/live.json" + query, headers=share)
        for page in ("replay.json", "eta.json?at=100", "standings/"):
            await self.get(f"race's {page}", f"/races/on/{page}")
        await self.get("race's standings.json", "/races/on/standings.json")
        await self.get("race's standings.csv", "/races/on/standings.csv")
        await self.get("metrics", "/metrics")
        await self.get("health", "/healthz")
        await self.get("health", "/readyz")
        for label, link in links.items():
            await self.get(f"share page, {label}", f"/s/{link}/")
            await self.get("share page, wrong", f"/s/{link}/more/")
        for code in CODES:
            headers = {"Spectate-Share": links["runners"]}
            await self.get("runner's page", f"/runners/{code}/")
            await self.get("entry's page", f"/races/on/runners/{code}/")
            await self.get("track.json", f"/runners/{code}/track.json")
            await self.get("track.json, since", f"/runners/{code}/track.json?since=1")
            await self.get("track.json, thin", f"/runners/{code}/track.json?detail=1")
            await self.get("track.gpx", f"/runners/{code}/track.gpx")
            await self.get(
                "track.json, link", f"/runners/{code}/track.json", headers=headers
            )
            if code != "private":
                # Runners' own pages show nothing hidden or erased.
                await self.get("own page", "/me/", owner=code)
                await self.get("own JSON", "/me/positions.json", owner=code)
                await self.get("own GPX", "/me/positions.gpx", owner=code)
                await self.get("own phones", f"/runners/{code}/phones/", owner=code)
