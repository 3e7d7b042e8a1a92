"""Places that nobody may see, looked for behind every door; and secrets in logs.

Each place has coordinates of its own, so that a digit anywhere gives a leak away.
Places that may be seen are looked for too: a door that shows nothing proves nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import polyline
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.clients import Client, seed_client, typed_client
from tests.office import Office
from tests.servers import Kind, Server

APPS = ("owntracks", "overland", "osmand", "gpslogger", "generic")
CODES = ("zoned", "private", "paused", "ended", "erased", "rezoned")
# By the time that a change is in force on every socket, with a busy machine's share.
IN_FORCE = 2.0
NUMBER = re.compile(r"-?\d{1,3}\.\d{4,}")
TRAIL = re.compile(r'"trail":\s*("(?:[^"\\]|\\.)*")')

SETUP = """
import json
from datetime import timedelta
from django.test import Client as Browser
world = {"tokens": {}, "cookies": {}, "links": {}}
race = Race.objects.create(
    slug="on", name="On", start=timezone.now(),
    ends=timezone.now() + timedelta(days=1))
everybody = {}
for code in ("zoned", "private", "paused", "ended", "erased", "rezoned"):
    user = User.objects.create_user(code)
    runner = everybody[code] = Runner.objects.create(
        code=code, name=code.title(), account=user,
        visibility="private" if code == "private" else "public")
    Entry.objects.create(race=race, runner=runner, bib=code)
    world["tokens"][code] = RunnerToken.objects.issue(runner, name="phone")[1]
    browser = Browser()
    browser.force_login(user)
    world["cookies"][code] = browser.cookies["sessionid"].value
later = timezone.now() + timedelta(hours=1)
named = [runner for code, runner in everybody.items() if code != "private"]
for label, what in (("runners", {"runners": named}), ("race", {"race": race}),
        ("pin", {"runners": named, "pin": "473829"})):
    world["links"][label] = ShareLink.objects.issue(
        label=label, expires_at=later, **what)[1]
zone_add(runner=everybody["zoned"], name="Home", lat=61.49876, lng=11.49876,
    radius=5000)
print(json.dumps(world))
"""


class Places:
    """Makes places and knows each again in any text."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._number = 0

    def make(
        self, name: str, lat: float = 45.0, lng: float = 8.0
    ) -> tuple[float, float]:
        """Return a place of its own, at most 200 m from the others."""
        self._number += 1
        # No two are alike in either coordinate, nor is any a round number.
        lat = round(lat + self._number * 0.00003 + 0.00001, 5)
        lng = round(lng + self._number * 0.00003 + 0.00002, 5)
        self.names |= {f"{lat:.5f}": name, f"{lng:.5f}": name}
        return lat, lng

    def found(self, text: str) -> set[str]:
        """Return the names of the places in a text, also in the lines of trails."""
        numbers = [float(number) for number in NUMBER.findall(text)]
        for trail in TRAIL.findall(text):
            for place in polyline.decode(json.loads(trail), 5):
                numbers += place
        keys = {f"{number:.5f}" for number in numbers}
        return {name for key, name in self.names.items() if key in keys}


class Listener:
    """A spectator who keeps every byte of what comes."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[str] = []
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.client.connection:
                self.heard.append(str(text))


def now_ms() -> int:
    return int(time.time() * 1000)


class Drive:
    """A server, its runners, and everything that has come out of its doors."""

    def __init__(self, server: Server, office: Office) -> None:
        self.server = server
        self.office = office
        self.places = Places()
        # What each door has shown, since the moment that everything was in force.
        self.doors: dict[str, str] = {}
        self.world: dict[str, dict[str, str]] = {}
        self.last_t = now_ms() - 200_000

    def token(self, code: str) -> str:
        return self.world["tokens"][code]

    # Sending

    def next_t(self) -> int:
        """Return a whole second: some apps know no fractions."""
        self.last_t += 1000
        return self.last_t - self.last_t % 1000

    async def typed(self, code: str, t: int, place: tuple[float, float]) -> None:
        async with typed_client(self.server.ws_url, self.token(code)) as phone:
            fix = {"t": t, "lat": place[0], "lng": place[1]}
            await phone.say(type="publish", fixes=[fix], id=1)
            answer = await phone.hear_until(lambda m: m.get("id") == 1)
            self.note("typed replies", json.dumps(answer))

    async def seed(self, code: str, t: int, place: tuple[float, float]) -> None:
        url = f"{self.server.ws_url}/?token={self.token(code)}"
        async with seed_client(url) as phone:
            await phone.say(userId=code, lat=place[0], lng=place[1], time=t)
            await phone.say(initialRequest=True, following=["no such"])
            self.note("seed replies", json.dumps(await phone.hear()))

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
        """Send a place of its own by every door for phones."""
        for dialect in (self.seed, self.typed):
            place = self.places.make(f"{what}, {dialect.__name__}", **where)
            await dialect(code, self.next_t(), place)
        for app in APPS:
            place = self.places.make(f"{what}, {app}", **where)
            await self.app(app, code, self.next_t(), place)

    # Looking

    def note(self, door: str, text: str) -> None:
        self.doors[door] = f"{self.doors.get(door, '')}\n{text}"

    async def get(
        self,
        door: str,
        path: str,
        *,
        owner: str | None = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
        method: str | None = None,
    ) -> None:
        """Note what a page answers; `owner` is whose session it is."""
        headers = dict(headers or {})
        if owner is not None:
            headers["Cookie"] = f"sessionid={self.world['cookies'][owner]}"
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(
            self.server.url + path, data, headers, method=method
        )

        def ask() -> str:
            try:
                with urllib.request.urlopen(request, timeout=20) as response:
                    return f"{response.headers}{response.read().decode()}"
            except urllib.error.HTTPError as error:
                return f"{error.headers}{error.read().decode()}"

        self.note(door, await asyncio.to_thread(ask))

    async def look(self, stack: contextlib.AsyncExitStack) -> dict[str, Listener]:
        """Open a spectator of every kind."""
        url, since = self.server.ws_url, now_ms() - 600_000
        seed = await stack.enter_async_context(seed_client(url))
        await seed.say(initialRequest=True, following=list(CODES))
        listeners = {"seed": Listener(seed)}
        follows: dict[str, dict[str, Any]] = {
            "typed, one by one": {"runners": list(CODES), "tick": 0},
            "typed, at a tick": {"runners": list(CODES), "tick": 500},
            "typed, since": {"runners": list(CODES), "since": since, "tick": 0},
            "typed, public": {"public": True, "tick": 0},
            "typed, public since": {"public": True, "since": since},
            "typed, race": {"races": ["on"], "tick": 0},
            "typed, race since": {"races": ["on"], "since": since},
            "typed, link": {"share": self.world["links"]["runners"], "tick": 0},
            "typed, race link": {"share": self.world["links"]["race"], "tick": 0},
            "typed, link since": {
                "share": self.world["links"]["pin"],
                "pin": "473829",
                "since": since,
            },
        }
        for name, follow in follows.items():
            client = await stack.enter_async_context(typed_client(url))
            await client.say(type="follow", **follow)
            listeners[name] = Listener(client)
        return listeners

    async def look_at_pages(self) -> None:
        links = self.world["links"]
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
                # What a runner may see of their own: nothing hidden or erased.
                await self.get("own page", "/me/", owner=code)
                await self.get("own JSON", "/me/positions.json", owner=code)
                await self.get("own GPX", "/me/positions.gpx", owner=code)
                await self.get("own phones", f"/runners/{code}/phones/", owner=code)


@pytest.fixture(scope="module")
def taint_server(server_kind: Kind) -> Any:
    with Server(server_kind, SPECTATE_SOCKETS_A_TOKEN="999") as server:
        yield server
        server.stop()
        # A wrong Host header is the sender's fault: it has a line and no more.
        assert "Invalid HTTP_HOST header" in server.log
        assert "Traceback" not in server.log, server.log


@pytest.fixture(scope="module")
def office(taint_server: Server) -> Any:
    office = Office(taint_server)
    yield office
    office.close()


# What shows the places that may be seen.
OPEN_DOORS = {
    *("seed", "typed, one by one", "typed, at a tick", "typed, public", "typed, race"),
    *("typed, link", "snapshot", "since", "track.json", "track.json, since"),
    *("live.json", "live.json, since", "live.json, link"),
    *("track.json, thin", "track.json, link", "track.gpx", "own JSON", "own GPX"),
}


async def test_no_door_shows_what_is_hidden(
    taint_server: Server, office: Office
) -> None:
    drive = Drive(taint_server, office)
    drive.world = json.loads(await office.do(SETUP))
    places = drive.places
    async with contextlib.AsyncExitStack() as stack:
        # Seen when they came, not any more once they were erased, ended or hidden.
        early = await drive.look(stack)
        await drive.everywhere("before the end", "ended")
        await drive.everywhere("erased", "erased")
        erased_t = drive.last_t
        await drive.everywhere("of a later zone", "rezoned", lat=63.5, lng=13.5)
        wanted = {"erased, typed", "before the end, osmand"}
        async with asyncio.timeout(20):
            while not wanted <= places.found("".join(early["typed, public"].heard)):
                await asyncio.sleep(0.1)
        await office.do(
            "sharing_pause(runner=everybody['paused'])\n"
            "sharing_until(runner=everybody['ended'], ends=timezone.now())\n"
            "positions_erase(runner=everybody['erased'])\n"
            "zone_add(runner=everybody['rezoned'], name='Home', lat=63.49876,"
            " lng=13.49876, radius=5000)"
        )
        await asyncio.sleep(IN_FORCE)
        before = {name: len(listener.heard) for name, listener in early.items()}
        drive.doors.clear()

        await drive.everywhere("in a zone", "zoned", lat=61.5, lng=11.5)
        await drive.everywhere("private", "private")
        drive.last_t = now_ms()
        await drive.everywhere("in a pause", "paused")
        await drive.everywhere("after the end", "ended")
        # What phones had kept for later.
        drive.last_t = erased_t - 60_000
        await drive.everywhere("erased, sent again", "erased")
        for centre in ("61.49876", "11.49876", "63.49876", "13.49876"):
            places.names[centre] = "a zone's centre"
        await asyncio.sleep(0.5)
        await office.do("sharing_resume(runner=everybody['paused'])")
        await asyncio.sleep(IN_FORCE)
        pause_t = now_ms() - int(IN_FORCE * 1000) - 600
        place = places.make("in a pause, sent later")
        await drive.typed("paused", pause_t, place)

        # And what may be seen.
        drive.last_t = max(drive.last_t, now_ms() - 8_000)
        for code in ("zoned", "paused", "rezoned"):
            await drive.typed(code, now_ms(), places.make(f"clean {code}"))
            await drive.seed(code, now_ms(), places.make(f"clean {code}"))
            late = places.make(f"clean {code}")
            await drive.typed(code, now_ms() - 300_000, late)

        late_comers = await drive.look(stack)
        await asyncio.sleep(3.5)  # second looks included
        await drive.look_at_pages()
        for name, listener in early.items():
            drive.note(name, "\n".join(listener.heard[before[name] :]))
        for name, listener in late_comers.items():
            door = "since" if "since" in name else "snapshot"
            drive.note(f"{name}, who came late", "\n".join(listener.heard))
            if "seed" not in name:
                drive.note(door, "\n".join(listener.heard))
        for listener in (*early.values(), *late_comers.values()):
            listener.task.cancel()
    drive.note("log", taint_server.log)

    leaks = {}
    clean = set()
    for door, text in drive.doors.items():
        found = places.found(text)
        hidden = {name for name in found if not name.startswith("clean")}
        if door == "own page":
            # It names the centres that the runner chose.
            hidden.discard("a zone's centre")
        if door in ("own JSON", "own GPX"):
            hidden = {name for name in hidden if not name.startswith("before the end")}
        if hidden:
            leaks[door] = hidden
        if "clean zoned" in found:
            clean.add(door)
    hidden_places = {n for n in places.names.values() if not n.startswith("clean")}
    print(
        f"{len(hidden_places)} places, {len(drive.doors)} doors on {taint_server.kind}"
    )
    assert not leaks
    assert clean >= OPEN_DOORS, OPEN_DOORS - clean
    assert not places.found(taint_server.log)


async def test_no_secret_is_in_the_log(taint_server: Server, office: Office) -> None:
    """Tokens, links, PINs and sessions, used in every way and also wrongly."""
    drive = Drive(taint_server, office)
    tag = f"x{time.monotonic_ns()}"
    drive.world = json.loads(
        await office.do(
            "import json\nfrom datetime import timedelta\n"
            "from django.test import Client as Browser\n"
            f"user = User.objects.create_user('{tag}')\n"
            f"bob = Runner.objects.create(code='{tag}', name='Bob', account=user)\n"
            "browser = Browser(); browser.force_login(user)\n"
            "later = timezone.now() + timedelta(hours=1)\n"
            "issue = lambda **more: ShareLink.objects.issue(\n"
            "    label='Mum', runners=[bob], expires_at=later, **more)\n"
            "ended, ended_plain = issue(); ended.revoke()\n"
            "dead, dead_plain = RunnerToken.objects.issue(bob, name='old')\n"
            "dead.revoke()\n"
            "print(json.dumps({'tokens': {'bob': RunnerToken.objects.issue(bob,\n"
            "    name='phone')[1], 'dead': dead_plain}, 'links': {'open': issue()[1],\n"
            "    'pin': issue(pin='473829')[1], 'ended': ended_plain},\n"
            "    'cookies': {'bob': browser.cookies['sessionid'].value}}))"
        )
    )
    tokens, links = drive.world["tokens"], drive.world["links"]
    secrets = {
        *tokens.values(),
        *links.values(),
        *drive.world["cookies"].values(),
        "473829",
        "a-wrong-token-of-somebody",
    }
    ws_url = taint_server.ws_url
    for token in (*tokens.values(), "a-wrong-token-of-somebody"):
        basic = base64.b64encode(f"bob:{token}".encode()).decode()
        for path, headers in (
            (f"/?token={token}", {}),
            (f"/ws/?a=b&token={token}", {}),
            ("/", {"Authorization": f"Bearer {token}"}),
            ("/", {"Authorization": f"Basic {basic}"}),
            (f"/{token}", {}),
            (f"/ws/{token}/", {}),
            (f"/nowhere?token={token}", {"Origin": "https://elsewhere.example"}),
        ):
            if token == "a-wrong-token-of-somebody" and token in path.split("?")[0]:
                continue  # too short to be one of ours
            with contextlib.suppress(InvalidStatus, ConnectionClosed):
                async with seed_client(
                    ws_url + path, additional_headers=headers
                ) as phone:
                    await phone.say(userId=tag, lat=48.5, lng=2.5)
        with contextlib.suppress(ConnectionClosed):
            async with typed_client(ws_url) as phone:
                await phone.say(type="auth", token=token)
                await phone.hear()
    for token in tokens.values():
        for app in (*APPS, "traccar", "misspelt", ""):
            for path in (
                f"/intake/{app}/{token}/",
                f"/intake/{app}/{token}",
                f"/intake/{app}/?token={token}&lat=48.5&lon=2.5",
                f"/intake/{app}/{token}/more/and/more",
            ):
                await drive.get("http", path)
        for path in (
            f"/intake/{token}/",
            f"/intake/{token}",
            f"/{token}/",
            f"/runners/{tag}/?token={token}",
            f"/runners/{token}/",
            f"/intake/gpslogger/{token}/spectate.properties",
        ):
            await drive.get("http", path)
        await drive.get("http", "/", headers={"Host": f"{token}.example"})
    for link in links.values():
        for path in (f"/s/{link}/", f"/s/{link}", f"/s/{link}/more/", f"/{link}"):
            await drive.get("http", path, owner="bob")
        await drive.get("http", f"/s/{link}/", body=b"pin=473829", method="PUT")
        await drive.get(
            "http",
            f"/s/{link}/",
            body=b"pin=473829",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        async with typed_client(ws_url) as mum:
            await mum.say(type="follow", share=link, pin="473829")
            await mum.hear()
    session = drive.world["cookies"]["bob"]
    with contextlib.suppress(InvalidStatus):
        async with typed_client(
            ws_url,
            additional_headers={
                "Origin": taint_server.url,
                "Cookie": f"sessionid={session}",
            },
        ):
            pass
    await asyncio.sleep(0.3)
    log = taint_server.log
    assert "GET /intake/" in log or '"/intake/' in log or "intake" in log
    leaking = [
        line for line in log.splitlines() for secret in secrets if secret in line
    ]
    assert not leaking, leaking[:10]
    print(f"{len(secrets)} secrets, {log.count(chr(10))} lines on {taint_server.kind}")
