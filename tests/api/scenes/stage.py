"""What scenes are played with: a cast, and a server that they speak to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api.capture import Capture
from tests.api.requests import Requests
from tests.clients import Message
from tests.office import Office

SETUP = """
import json
from django.test import Client as Browser
from tests.races.field import make_race, make_entry
now = timezone.now()
hour = timedelta(hours=1)
made = {"tokens": {}, "links": {}, "cookies": {}}
runners, tokens, links, users, races = {}, {}, {}, {}, {}

def add(code, **fields):
    runner = Runner.objects.create(code=code, name=code.title(), **fields)
    runners[code] = runner
    tokens[code], made["tokens"][code] = RunnerToken.objects.issue(runner, name="x")
    return runner

for code in ("7", "8", "bob", "cheered", "full", "gone", "moved", "other", "many",
             "deleted", "expiring", "hiding", "leaving", "blocking", "lost", "phony",
             "calling", "sick"):
    add(code)
add("off", cheers=False)
add("finn", visibility="followers")
for code in ("linked", "linked-too"):
    add(code, visibility="private")

eve = add("eve")
Zone.objects.create(runner=eve, name="Home", lat=50, lng=3, radius=300)
Pause.objects.create(runner=eve, started_at=now - 3 * hour, ended_at=now - 2 * hour)
eve.erased_at = now - 24 * hour
eve.save()

city = make_race(
    slug="city", name="City Run", start=now - timedelta(minutes=5), length=400,
    line=[[48 + m / 111195, 2.0] for m in range(0, 401, 20)], top_speed=60,
)
city.checkpoints.exclude(name__in=["Start", "Finish"]).delete()
city.checkpoints.filter(name="Finish").update(distance=400)
Checkpoint.objects.create(race=city, name="200 m", distance=200, kind="split")
Entry.objects.create(race=city, runner=runners["bob"], bib="1")
Entry.objects.create(race=city, runner=runners["lost"], bib="9")
dora = make_entry(city, "dora", "2")
ten = make_race(slug="ten", name="Ten", start=now - 2 * hour)
elite = ten.waves.create(name="Elite", start=now - 2 * hour)
make_entry(ten, "first", "1", pace=0.5, late=9, category="W40", wave=elite)
for n, code in enumerate(("second", "silent", "astray")):
    make_entry(ten, code, f"2{n}", pace=0.85, category="M")
make_entry(ten, "slow", "3", pace=5)
make_entry(ten, "waiting", "4")
make_entry(ten, "hidden", "5", visibility="private")
for n, status in enumerate(("finished", "dnf", "dns")):
    make_entry(ten, status, f"6{n}", status=status)
lately = Position.objects.filter(recorded_at__gt=now - timedelta(minutes=15))
lately.filter(runner__code__in=["silent", "astray"]).delete()
LatestPosition.objects.filter(runner__code="silent").delete()
Split.objects.filter(entry__runner__code="second", checkpoint__distance=5000).update(
    by_hand=True)
for slug in ("plain", "going", "hushed"):
    races[slug] = make_race(slug=slug, name=slug.title(), line=[], length=0)
start_list = [("many", "1"), ("linked", "2")]
for code, bib in start_list:
    Entry.objects.create(race=races["plain"], runner=runners[code], bib=bib)
for slug in ("secret", "secret-too"):
    races[slug] = make_race(slug=slug, name=slug.title(), visibility="link")

def link(name, *, pin="", expires=now + hour, **to):
    links[name], made["links"][name] = ShareLink.objects.issue(
        label=name, expires_at=expires, pin=pin, **to)

link("one", runners=[runners["linked"]])
link("two", runners=[runners["linked-too"]])
link("locked", pin="1234", runners=[runners["linked"]])
link("expired", expires=now - hour, runners=[runners["linked"]])
link("revoked", runners=[runners["linked"]])
links["revoked"].revoke()
link("secret", race=races["secret"])
link("secret-too", race=races["secret-too"])

def user(name):
    users[name] = User.objects.create_user(name)
    browser = Browser()
    browser.force_login(users[name])
    made["cookies"][name] = browser.cookies["sessionid"].value
    return users[name]

Follow.objects.create(user=user("alice"), runner=runners["finn"], status="pending")
user("charlie")
runners["7"].account = user("seven")
runners["7"].save()
print(json.dumps(made))
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fix(ago: float = 0, lat: float = 48.0, lng: float = 2.0, **more: Any) -> Any:
    """Make a fix of so many milliseconds ago."""
    return {"t": now_ms() - round(ago), "lat": lat, "lng": lng, **more}


def says(**fields: Any) -> Callable[[Message], bool]:
    """Tell messages by what is in them."""
    return lambda message: fields.items() <= message.items()


class Stage:
    """A server, and the tokens, links and cookies of the cast."""

    def __init__(self, capture: Capture, office: Office, made: dict[str, Any]) -> None:
        self.capture = capture
        self.joined = capture.joined
        self.tokens: dict[str, str] = made["tokens"]
        self.links: dict[str, str] = made["links"]
        self.cookies: dict[str, str] = made["cookies"]
        self.requests = Requests(capture, made)
        self._office = office
        self._one_at_a_time = asyncio.Lock()

    async def do(self, code: str) -> str:
        async with self._one_at_a_time:
            return await self._office.do(code)


Scene = Callable[[Stage], Awaitable[None]]
