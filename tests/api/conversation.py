"""A conversation in which a server says everything that it ever says.

Short scenes beside each other, each with runners of its own; at the end what only a
fault provokes, and the server's leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api.capture import Capture, Recorder
from tests.api.requests import Requests
from tests.clients import Message
from tests.office import Office
from tests.servers import Server

# Small ones, to reach them soon.
LIMITS = {
    "SPECTATE_FIRST_MESSAGE": "5",
    "SPECTATE_FOLLOW_LIMIT": "12",
    "SPECTATE_LAG_LIMIT": "600000",
    "SPECTATE_FRAME_LIMIT": "65536",
    "SPECTATE_PUBLISH_BURST": "1300",
    "SPECTATE_SOCKETS_A_TOKEN": "2",
}
# How long a scene may take on a busy machine; some twenty are played at once. Seconds.
PATIENCE = 120.0
MINUTE = 60_000  # ms
METRE = 1 / 111_195  # degrees of latitude

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


class Conversation:
    """The scenes; `made` has the tokens, links and cookies of the cast."""

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

    # The dialect of 2015

    async def talk_as_in_2015(self) -> None:
        async with (
            self.joined("seed", self.tokens["7"]) as phone,
            self.joined("seed") as alice,
        ):
            await alice.say(initialRequest=True, following=[7, "8"], userId=9)
            await alice.say_wrong(initialRequest=True, following=["nobody", "a b"])
            await alice.hear_code("runner.unknown", "runner.invalid")
            await phone.say(lat=48, lng=2.5)
            await phone.say(userId="7", lat=48, lng=2)
            details = {"accuracy": 5, "altitude": 35, "speed": 3.4, "heading": 270}
            await phone.say(
                userId=7, lat=48.1, lng=2, time=now_ms() + 2000, battery=81, **details
            )
            heard = [await alice.hear() for _ in range(3)]
            assert [message["userId"] for message in heard] == [7, "7", 7]
            await phone.say_wrong(userId=8, lat=48, lng=2)
            await phone.say_wrong(userId=7, lat=148, lng=2)
            await phone.hear_code("runner.mismatch", "position.invalid")
            await alice.say_wrong(userId=7, lat=48, lng=2)
            await alice.say_wrong(hello="there")
            await alice.hear_code("token.required", "message.invalid")

    # spectate.v1

    async def greet(self) -> None:
        async with self.joined("typed") as client:
            welcome = await client.hear_type("welcome")
            assert welcome["runner"] is None
            for id_ in (1, "one", None, True):
                await client.say(type="ping", id=id_, at=12345)
                assert (await client.hear_type("pong"))["at"] == 12345
            await client.say(type="auth", id=2, token=self.tokens["8"])
            assert (await client.hear_type("welcome"))["runner"] == "8"
            await client.say_wrong(type="greet")
            await client.say_wrong(type="publish", fixes=[])
            await client.hear_code("message.unknown", "publish.invalid")
            await client.say_wrong(type="auth", token="wrong")
            await client.hear_end(4401)

    async def follow_and_let_go(self) -> None:
        async with self.joined("typed") as client:
            await client.say(
                **{"type": "follow", "id": 1, "public": True, "tick": 100},
                runners=["8", 7],
                races=["plain", "city", "ten"],
            )
            # Each whole is a part of its own.
            await client.hear_until(says(more=True))
            await client.hear_until(says(more=False))
            await client.say(type="follow", id=None, runners=["dora"], races=[])
            await client.hear_type("snapshot")
            await client.say_wrong(
                type="follow",
                runners=["nobody", 1.5, True, None, "a b"],
                races=["nowhere", 1.5, True, None],
            )
            await client.hear_code("runner.unknown", "runner.invalid", "race.unknown")
            await client.say_wrong(type="follow", runners=[str(n) for n in range(20)])
            await client.hear_code("follow.limit")
            await client.say(
                type="unfollow", id=2, runners=[7], races=["city"], public=True
            )
            assert (await client.hear_type("unfollowed"))["public"]

    async def ask_for_a_follow_that_is_pending(self) -> None:
        async with self.joined("typed", cookie=self.cookies["alice"]) as client:
            await client.say(type="follow", runners=["finn"])
            await client.hear_code("follow.forbidden")

    async def show_links(self) -> None:
        await asyncio.gather(
            self.show_link("none", "share.unknown"),
            self.show_link("revoked", "share.revoked"),
            self.show_link("expired", "share.expired"),
            self.show_link("locked", "share.pin"),
        )
        async with self.joined("typed") as client:
            await client.say(type="follow", share=self.links["locked"], pin="1234")
            snapshot = await client.hear_type("snapshot")
            assert [runner["code"] for runner in snapshot["runners"]] == ["linked"]

    async def show_link(self, name: str, code: str) -> None:
        async with self.joined("typed") as client:
            await client.say(type="follow", share=self.links.get(name, name))
            await client.hear_code(code)

    async def publish_what_is_refused(self) -> None:
        async with self.joined("typed") as stranger:
            await stranger.say(type="publish", fixes=[fix()])
            await stranger.hear_code("token.required")
        async with self.joined("typed", self.tokens["eve"]) as eve:
            await eve.say(
                **{"type": "publish", "id": "p"},
                fixes=[
                    fix(battery=81, accuracy=None, altitude=35, speed=None),
                    fix(1000, heading=None, accuracy=5, speed=3, altitude=None),
                    fix(2000, heading=90, battery=None),
                    fix(lat=0, lng=0),
                    fix(-5 * MINUTE),
                    fix(lat=50, lng=3),
                    fix(150 * MINUTE),
                    fix(48 * 60 * MINUTE),
                ],
            )
            ack = await eve.hear_type("ack")
            assert ack["stored"] == 3
            assert {code for _, code in ack["rejected"]} == {
                *("position.invalid", "position.future", "position.erased"),
                *("zone.hidden", "sharing.paused"),
            }

    async def run_a_race(self) -> None:
        """Bob starts, runs, gets lost and finishes; organisers change the rest."""
        async with (
            self.joined("typed", self.tokens["bob"]) as bob,
            self.joined("typed") as alice,
        ):
            await alice.say(type="follow", races=["city", "going"], tick=0)
            await alice.hear_type("snapshot")
            await self.run(bob, 110)
            for state in ("started", "off_course", "finished"):
                await alice.hear_until(says(state=state))
            await bob.say(type="publish", fixes=[fix(100), fix(1100)])
            await alice.hear_type("late")
            for state in ("dnf", "dns", "registered"):
                await self.do(f"dora.status = '{state}'; dora.save()")
                await alice.hear_until(says(state=state))
            await self.do("make_entry(city, 'nina', '3', visibility='public')")
            await alice.hear_until(says(change="added"))
            await self.do("Entry.objects.filter(runner__code='nina').delete()")
            await alice.hear_until(says(change="removed"))
            await self.do("races['going'].save()")
            await alice.hear_until(says(race={"slug": "going", "change": "changed"}))
            await self.do("races['going'].delete()")
            await alice.hear_until(says(race={"slug": "going", "change": "removed"}))

    async def run(self, phone: Recorder, seconds: int) -> None:
        """Run the city's course, and lose it for a while after 250 m."""
        await phone.say(type="publish", fixes=[fix(240_000), fix(241_000)])
        for second in range(0, seconds, 5):
            is_lost = 65 <= second < 85
            await phone.say(
                type="publish",
                fixes=[
                    fix(
                        (200 - second) * 1000,
                        48 + min(4 * second, 400) * METRE,
                        2.004 if is_lost else 2.0,
                        accuracy=5,
                        **({"speed": 4.0, "heading": 0} if second else {}),
                    )
                ],
            )

    async def get_lost(self) -> None:
        async with self.joined("typed", self.tokens["lost"]) as phone:
            await phone.hear_type("welcome")
            await self.run(phone, 85)
            for _ in range(18):
                await phone.hear_type("ack")

    async def come_back_after_too_much(self) -> None:
        async with self.joined("typed", self.tokens["many"]) as phone:
            for batch in range(3):
                fixes = [fix(1000 * (n + 400 * batch)) for n in range(400)]
                await phone.say(type="publish", fixes=fixes)
                await phone.hear_type("ack")
        async with self.joined("typed") as client:
            await client.say(type="follow", runners=["many"], since=1)
            assert (await client.hear_type("snapshot"))["truncated"] == ["many"]
            await client.say(type="unfollow", runners=["many"])
            await client.hear_type("unfollowed")

    async def tell_of_a_phone(self) -> None:
        async with (
            self.joined("typed", self.tokens["phony"]) as phone,
            self.joined("typed") as alice,
        ):
            await alice.say(type="follow", runners=["phony"])
            await alice.hear_type("snapshot")
            await phone.say(type="publish", fixes=[fix(MINUTE, battery=17)])
            assert (await alice.hear_type("event", "phone"))["accuracy"] is None
            await phone.say(type="publish", fixes=[fix(accuracy=62)])
            assert (await alice.hear_type("event", "phone"))["battery"] is None

    async def call_for_help(self) -> None:
        token = self.tokens["calling"]
        async with self.joined("typed", token) as phone:
            call = {"type": "sos", "id": "one", "time": now_ms()}
            await phone.say_wrong(type="sos", id=1, time=now_ms())
            await phone.hear_code("sos.invalid")
            await phone.say(**call, fix=fix(battery=81), battery=80)
            assert (await phone.hear_type("ack"))["open"]
            await self.do("Sos.objects.update(seen_at=timezone.now())")
            await phone.say(**call, fine=True)
            ack = await phone.hear_type("ack")
            assert ack["seen"]
            assert not ack["open"]

    async def cheer(self) -> None:
        async with self.joined("typed") as alice:
            await alice.say(type="follow", runners=["cheered"])
            await alice.say_wrong(type="cheer", runner="cheered", text="")
            await alice.say(type="cheer", runner="off", text="Allez")
            await alice.hear_code("cheer.invalid", "cheer.off")
            await alice.say(type="cheer", id=1, runner="cheered", text="Allez")
            await alice.hear_type("event", "cheer")
            for _ in range(5):
                await alice.say(type="cheer", id=1, runner="cheered", text="Allez")
            await alice.hear_code("rate.limited")

    # Rights that end

    async def lose_runners(self) -> None:
        async with (
            self.joined("typed") as client,
            self.joined("typed", cookie=self.cookies["charlie"]) as charlie,
        ):
            lost = ["deleted", "expiring", "hiding", "leaving"]
            await client.say(type="follow", runners=lost)
            await charlie.say(type="follow", runners=["blocking"])
            await client.hear_type("snapshot")
            await charlie.hear_type("snapshot")
            await self.do(
                "runner_delete(runner=runners['deleted'])\n"
                "sharing_until(runner=runners['expiring'], ends=timezone.now())\n"
                "visibility_set(runner=runners['hiding'], visibility='private')\n"
                "visibility_set(runner=runners['leaving'], visibility='followers')\n"
                "Follow.objects.create(user=users['charlie'],"
                " runner=runners['blocking'], status='blocked')"
            )
            reasons = [await client.hear_type("event", "access") for _ in lost]
            reasons.append(await charlie.hear_type("event", "access"))
            assert {event["reason"] for event in reasons} == {
                *("deleted", "expired", "private", "revoked", "blocked")
            }
            await self.do("users['charlie'].delete()")
            await charlie.hear_end(4401)

    async def lose_races(self) -> None:
        # The token keeps the socket, whatever ends.
        async with self.joined("typed", self.tokens["other"]) as client:
            await client.say(type="follow", races=["hushed"])
            await client.say(type="follow", share=self.links["secret"])
            await client.say(type="follow", share=self.links["secret-too"])
            for _ in range(3):
                await client.hear_type("snapshot")
            await self.do(
                "Race.objects.filter(slug='hushed').update(visibility='link')\n"
                "links['secret'].revoke()\n"
                "ShareLink.objects.filter(pk=links['secret-too'].pk)"
                ".update(expires_at=timezone.now())"
            )
            events = [await client.hear_type("event", "access") for _ in range(3)]
            assert {event["reason"] for event in events} == {
                *("private", "revoked", "expired")
            }

    async def lose_what_a_socket_stands_on(self) -> None:
        async with (
            self.joined("typed", self.tokens["gone"]) as gone,
            self.joined("typed", self.tokens["moved"]) as moved,
            self.joined("typed") as shared,
        ):
            await shared.say(type="follow", share=self.links["two"])
            await shared.hear_type("snapshot")
            await self.do(
                "tokens['gone'].revoke()\n"
                "tokens['moved'].runner = runners['other']; tokens['moved'].save()\n"
                "links['two'].revoke()"
            )
            await gone.hear_end(4401)
            await moved.hear_end(1012)
            await shared.hear_end(4403)

    # Limits, and what is no message

    async def open_too_many(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    self.joined("typed", self.tokens["full"])
                )
                for _ in range(3)
            ]
            await clients[-1].hear_end(4429)

    async def say_nothing(self) -> None:
        async with self.joined("typed") as client:
            await client.hear_end(4408)

    async def say_no_message(self) -> None:
        async with self.joined("typed") as client:
            await client.say_raw("[")
            await client.say_raw(b"binary")
            await client.hear_end(4400)
        async with self.joined("typed") as client:
            await client.say_wrong(type="ping", pad="x" * 65_536)
            await client.hear_end(1009)
        async with self.joined("typed") as client:
            await client.connection.send(b"\xff", text=True)
            await client.hear_end(1007)
        async with self.joined("typed") as client:
            # A masked frame of an opcode that does not exist.
            client.connection.transport.write(b"\x83\x80\0\0\0\0")
            await client.hear_end(1002)

    async def read_nothing(self) -> None:
        async with self.joined("typed") as client:
            transport = client.connection.transport
            # The kernel would hold megabytes for it.
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
            )
            transport.pause_reading()
            # Each is answered with as much; at last the answers fill all buffers.
            for _ in range(100):
                await client.say_wrong(type="ping", pad="x" * 60_000)
            transport.resume_reading()
            await client.hear_end(4413)

    # What only a fault provokes

    async def fail(self) -> None:
        await self.do(
            "races['plain'].line = ['nonsense']; races['plain'].save()\n"
            "from django.db import connection\n"
            "cursor = connection.cursor()\n"
            "cursor.execute(\"update runners_runnertoken set expires_at = x'ff' \"\n"
            "               'where runner_id = %s', [runners['sick'].pk])"
        )
        async with self.joined("typed") as client:
            await client.say(type="follow", races=["plain"])
            await client.hear_code("server.error")
        async with self.joined("typed", self.tokens["sick"]) as client:
            await client.hear_end(1011)

    async def lose_the_database(self) -> None:
        async with self.joined("typed") as client:
            await client.say(type="ping")
            await client.hear_type("pong")
            await self.do(
                "cursor.execute('alter table runners_runner rename to mislaid')"
            )
            try:
                await client.say(type="follow", runners=["8"])
                await client.hear_code("store.unavailable")
                async with self.joined("typed", self.tokens["8"]) as phone:
                    await phone.hear_end(1013)
                await self.requests.ask_in_vain()
            finally:
                await self.do(
                    "cursor.execute('alter table mislaid rename to runners_runner')"
                )

    async def leave(self) -> None:
        async with self.joined("typed") as client, self.joined("seed") as deaf:
            await client.say(type="ping")
            await client.hear_type("pong")
            # One that does not answer the close is waited for a moment.
            deaf.connection.transport.pause_reading()
            os.kill(self.capture.server.pid, signal.SIGTERM)
            await client.hear_type("reconnect")
            await client.hear_end(1012)
            await self.requests.ask_while_it_leaves()
            deaf.connection.transport.resume_reading()
            await deaf.hear_end(1012)


async def converse(capture: Capture, office: Office) -> None:
    """Play all scenes; where one breaks off the others are heard all the same."""
    scenes = Conversation(capture, office, json.loads(await office.do(SETUP)))

    async def play(scene: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await scene()
        except Exception:
            name = getattr(scene, "__name__", "")
            capture.broken_off.append(f"{name}: {traceback.format_exc()}")

    together = (
        scenes.talk_as_in_2015,
        scenes.greet,
        scenes.follow_and_let_go,
        scenes.ask_for_a_follow_that_is_pending,
        scenes.show_links,
        scenes.publish_what_is_refused,
        scenes.run_a_race,
        scenes.get_lost,
        scenes.come_back_after_too_much,
        scenes.tell_of_a_phone,
        scenes.call_for_help,
        scenes.cheer,
        scenes.lose_runners,
        scenes.lose_races,
        scenes.lose_what_a_socket_stands_on,
        scenes.open_too_many,
        scenes.say_nothing,
        scenes.say_no_message,
        scenes.read_nothing,
    )
    await asyncio.gather(*map(play, together))
    for scene in (
        scenes.requests.ask_all,
        scenes.fail,
        scenes.lose_the_database,
        scenes.leave,
    ):
        await play(scene)


def capture_all() -> Capture:
    """Start a server, play all scenes and return what was said."""
    server = Server("uvicorn", **LIMITS)
    capture = Capture(server)
    office = Office(server)
    try:
        with server:
            asyncio.run(converse(capture, office))
    finally:
        office.close()
    return capture
