"""Rights that change, on open sockets: from a shell, without Redis, within a second."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from websockets.exceptions import ConnectionClosed

from tests.clients import Client, Message, seed_client, typed_client
from tests.servers import ROOT, Server, clean_environment

# Polls come every 300 ms; the rest is for a busy machine. Seconds.
SOON = 1.0


def now_ms() -> int:
    return int(time.time() * 1000)


class Office:
    """A shell beside the server, kept open: starting one a change takes too long."""

    def __init__(self, server: Server) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v0", "-c", SHELL],
            cwd=ROOT,
            env=clean_environment(**server.env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def do(self, code: str) -> str:
        """Run Python there; return what it printed."""
        return await asyncio.to_thread(self._do, code)

    def _do(self, code: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(code), file=stdin, flush=True)
        answer = json.loads(stdout.readline())
        assert answer["error"] is None, answer["error"]
        return str(answer["printed"]).strip()

    def close(self) -> None:
        self._process.communicate()


SHELL = """
import contextlib, io, json, sys, traceback
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.utils import timezone
from runners.models import *
from runners.sharing.own import *
User = get_user_model()
names = dict(globals())
for line in sys.stdin:
    out, error = io.StringIO(), None
    try:
        with contextlib.redirect_stdout(out):
            exec(json.loads(line), names)
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps({"printed": out.getvalue(), "error": error}), flush=True)
"""


@pytest.fixture(scope="module")
def office(uvicorn_server: Server) -> Iterator[Office]:
    office = Office(uvicorn_server)
    yield office
    office.close()


@dataclass
class Scene:
    """Bob runs and publishes every 50 ms; who may see him follows."""

    server: Server
    office: Office
    code: str
    token: str
    phone: Client


@pytest.fixture
async def scene(uvicorn_server: Server, office: Office) -> AsyncIterator[Scene]:
    code = f"bob-{time.monotonic_ns()}"
    token = await office.do(
        f"bob = Runner.objects.create(code='{code}', name='Bob')\n"
        "print(RunnerToken.objects.issue(bob, name='phone')[1])"
    )
    async with typed_client(uvicorn_server.ws_url, token) as phone:

        async def run() -> None:
            for n in itertools.count():
                fix = {"t": now_ms(), "lat": 48 + n / 1e4, "lng": 2}
                await phone.say(type="publish", fixes=[fix])
                await asyncio.sleep(0.05)

        running = asyncio.create_task(run())
        yield Scene(uvicorn_server, office, code, token, phone)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
            await running


async def cookie_of(scene: Scene, name: str, status: str | None = "accepted") -> str:
    """Sign a user up and in, who follows Bob; return the session's cookie."""
    key = await scene.office.do(
        "from django.test import Client as Browser\n"
        f"user = User.objects.create_user('{name}')\n"
        "browser = Browser(); browser.force_login(user)\n"
        + (
            f"Follow.objects.create(user=user, runner=bob, status='{status}')\n"
            if status
            else ""
        )
        + "print(browser.cookies['sessionid'].value)"
    )
    return key


@contextlib.asynccontextmanager
async def page_of(scene: Scene, cookie: str) -> AsyncIterator[Client]:
    headers = {"Origin": scene.server.url, "Cookie": f"sessionid={cookie}"}
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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("bob.visibility = 'private'; bob.save()", "private"),
        ("Runner.objects.filter(pk=bob.pk).update(visibility='private')", "private"),
        ("bob.delete()", "deleted"),
        ("Runner.objects.filter(pk=bob.pk).delete()", "deleted"),
        ("sharing_until(runner=bob, ends=timezone.now())", "expired"),
        (
            "sharing_until(runner=bob, ends=timezone.now() + timedelta(seconds=0.5))",
            "expired",
        ),
    ],
)
async def test_a_stranger_loses_a_runner_who_is_no_longer_public(
    scene: Scene, change: str, reason: str
) -> None:
    async with typed_client(scene.server.ws_url) as alice:
        await sees_bob(alice, scene)
        await scene.office.do(change)
        wait = 0.5 if "0.5" in change else 0
        await loses_bob(alice, scene, time.monotonic() + wait, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("Follow.objects.get(user=user).delete()", "revoked"),
        ("Follow.objects.filter(user=user).update(status='refused')", "revoked"),
        ("Follow.objects.filter(user=user).update(status='blocked')", "blocked"),
        ("bob.visibility = 'private'; bob.save()", "private"),
    ],
)
async def test_a_follower_loses_a_runner_who_takes_the_follow_back(
    scene: Scene, change: str, reason: str
) -> None:
    await scene.office.do("bob.visibility = 'followers'; bob.save()")
    cookie = await cookie_of(scene, f"alice-{scene.code}")
    async with page_of(scene, cookie) as alice:
        await sees_bob(alice, scene)
        await scene.office.do(change)
        await loses_bob(alice, scene, time.monotonic(), reason)


@pytest.mark.parametrize(
    "change",
    [
        "browser.logout()",
        "user.delete()",
        "user.is_active = False; user.save()",
        "user.set_password('another'); user.save()",
    ],
)
async def test_a_page_whose_session_ends_is_closed_with_4401(
    scene: Scene, change: str
) -> None:
    await scene.office.do("bob.visibility = 'followers'; bob.save()")
    cookie = await cookie_of(scene, f"alice-{scene.code}")
    async with page_of(scene, cookie) as alice:
        await sees_bob(alice, scene)
        await scene.office.do(change)
        since = time.monotonic()
        error = await alice.hear_type("error")
        assert time.monotonic() - since < SOON
        assert error["code"] == "session.ended"
        assert await alice.hear_close() == 4401


@pytest.mark.parametrize(
    "change",
    [
        "RunnerToken.objects.get(runner=bob).revoke()",
        "RunnerToken.objects.get(runner=bob).delete()",
        "RunnerToken.objects.filter(runner=bob).update(expires_at=timezone.now())",
        "bob.delete()",
    ],
)
async def test_a_phone_whose_token_ends_is_closed_with_4401(
    scene: Scene, change: str
) -> None:
    await scene.phone.hear_type("ack")
    await scene.office.do(change)
    since = time.monotonic()
    error = await scene.phone.hear_until(lambda m: m.get("code") == "token.revoked")
    assert error["detail"]
    assert await scene.phone.hear_close() == 4401
    assert time.monotonic() - since < SOON


async def test_a_phone_that_is_another_runners_now_is_told_to_come_back(
    scene: Scene,
) -> None:
    await scene.phone.hear_type("ack")
    await scene.office.do(
        "eve = Runner.objects.create(code=f'{bob.code}-eve', name='Eve')\n"
        "RunnerToken.objects.filter(runner=bob).update(runner=eve)"
    )
    since = time.monotonic()
    await scene.phone.hear_until(lambda m: m.get("code") == "token.moved")
    assert await scene.phone.hear_close() == 1012
    assert time.monotonic() - since < SOON
    async with typed_client(scene.server.ws_url, scene.token) as phone:
        fix = {"t": now_ms(), "lat": 48, "lng": 2}
        await phone.say(type="publish", fixes=[fix])
        await phone.hear_type("ack")
    assert await scene.office.do("print(eve.positions.count())") == "1"


async def test_a_token_expires_by_the_clock(scene: Scene) -> None:
    printed = await scene.office.do(
        "row, plain = RunnerToken.objects.issue(bob, name='short')\n"
        "row.expires_at = timezone.now() + timedelta(seconds=1)\n"
        "row.save(); print(plain)"
    )
    async with typed_client(scene.server.ws_url, printed) as phone:
        assert await phone.hear_close() == 4401


LINK = (
    "link, plain = ShareLink.objects.issue(label='Mum', runners=[bob], pin='{pin}',"
    " expires_at=timezone.now() + timedelta(seconds={life})); print(plain)"
)


async def test_a_share_link_shows_a_private_runner_until_it_is_revoked(
    scene: Scene,
) -> None:
    await scene.office.do("bob.visibility = 'private'; bob.save()")
    plain = await scene.office.do(LINK.format(pin="", life=3600))
    async with typed_client(scene.server.ws_url) as mum:
        await mum.say(type="follow", share=plain, tick=0)
        snapshot = await mum.hear_type("snapshot")
        assert [r["code"] for r in snapshot["runners"]] == [scene.code]
        await mum.hear_type("positions")
        await scene.office.do("link.revoke()")
        since = time.monotonic()
        error = await mum.hear_type("error")
        assert error["code"] == "share.ended"
        assert await mum.hear_close() == 4403
        assert time.monotonic() - since < SOON
    async with typed_client(scene.server.ws_url) as mum:
        await mum.say(type="follow", share=plain)
        assert (await mum.hear())["code"] == "share.revoked"
        await mum.say(type="follow", share="never existed")
        assert (await mum.hear())["code"] == "share.unknown"


async def test_a_share_link_expires_by_the_clock(scene: Scene) -> None:
    await scene.office.do("bob.visibility = 'private'; bob.save()")
    plain = await scene.office.do(LINK.format(pin="", life=1.5))
    async with typed_client(scene.server.ws_url) as mum:
        await mum.say(type="follow", share=plain, tick=0)
        await mum.hear_type("positions")
        assert await mum.hear_close() == 4403
    async with typed_client(scene.server.ws_url) as mum:
        await mum.say(type="follow", share=plain)
        assert (await mum.hear())["code"] == "share.expired"


async def test_a_share_link_with_a_pin_wants_it(scene: Scene) -> None:
    plain = await scene.office.do(LINK.format(pin="4711", life=60))
    async with typed_client(scene.server.ws_url) as mum:
        for pin in ("", "1234"):
            await mum.say(type="follow", share=plain, pin=pin)
            assert (await mum.hear())["code"] == "share.pin"
        await mum.say(type="follow", share=plain, pin="4711")
        assert (await mum.hear())["type"] == "snapshot"


async def test_a_pause_and_a_zone_hold_positions_back_and_say_so(
    scene: Scene,
) -> None:
    async with typed_client(scene.server.ws_url) as alice:
        await sees_bob(alice, scene)
        await scene.office.do("sharing_pause(runner=bob)")
        await scene.phone.hear_until(
            lambda m: m.get("rejected") == [[0, "sharing.paused"]]
        )
        # Nothing more once the pause is in force.
        assert await quiet(alice)
        await scene.office.do("sharing_resume(runner=bob)")
        await alice.hear_until(lambda m: m["type"] == "positions" and bool(m["fixes"]))
        await scene.office.do(
            "zone_add(runner=bob, name='Home', lat=48.05, lng=2, radius=5000)\n"
            "zone_add(runner=bob, name='Home', lat=48.0, lng=2, radius=5000)"
        )
        await scene.phone.hear_until(
            lambda m: m.get("rejected") == [[0, "zone.hidden"]]
        )
        assert await quiet(alice)
    assert (
        await scene.office.do("print(Position.objects.filter(runner=bob).count())")
    ) == "0"


async def quiet(client: Client) -> bool:
    """Tell whether a stream ends within two seconds."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if await client.hear_nothing(0.4):
            return True
    return False


async def test_erased_positions_are_gone_and_do_not_come_back(scene: Scene) -> None:
    await scene.phone.hear_type("ack")
    t = now_ms()
    await scene.office.do("positions_erase(runner=bob)")
    async with typed_client(scene.server.ws_url, scene.token) as phone:
        await asyncio.sleep(SOON)
        await phone.say(type="publish", fixes=[{"t": t - 1000, "lat": 48, "lng": 2}])
        ack = await phone.hear_type("ack")
        assert ack["rejected"] == [[0, "position.erased"]]
    old = await scene.office.do(
        "print(Position.objects.filter(runner=bob,"
        " recorded_at__lte=Runner.objects.get(pk=bob.pk).erased_at).count())"
    )
    assert old == "0"


async def test_a_seed_client_loses_a_runner_too(scene: Scene) -> None:
    async with seed_client(scene.server.ws_url) as alice:
        await alice.say(initialRequest=True, following=[scene.code])
        await alice.hear()
        await scene.office.do("bob.visibility = 'private'; bob.save()")
        await asyncio.sleep(SOON)
        while not await alice.hear_nothing(0.05):
            pass
        assert await alice.hear_nothing(0.5)


async def test_who_is_blocked_loses_the_runner_in_a_whole_too(scene: Scene) -> None:
    cookie = await cookie_of(scene, f"alice-{scene.code}", None)
    # Somebody else who goes on: a whole does not end with one of it.
    await scene.office.do(
        "anne, _ = Runner.objects.get_or_create(code='anne', name='Anne')\n"
        "token = RunnerToken.objects.issue(anne, name='phone')[1]"
    )
    anne = await scene.office.do("print(token)")

    def is_bob(message: Message) -> bool:
        return message["type"] == "positions" and any(
            row[0] == scene.code for row in message["fixes"]
        )

    async with (
        page_of(scene, cookie) as alice,
        typed_client(scene.server.ws_url) as charlie,
        typed_client(scene.server.ws_url, anne) as phone,
    ):
        for client in (alice, charlie):
            await client.say(type="follow", public=True, tick=0, since=now_ms())
            await client.hear_until(is_bob)
        await scene.office.do("Follow.objects.create(user=user, runner=bob)")
        await scene.office.do(
            "Follow.objects.filter(user=user).update(status='blocked')"
        )
        since = time.monotonic()
        event = await alice.hear_type("event", "runner")
        assert time.monotonic() - since < SOON
        assert (event["change"], event["runner"]) == ("removed", scene.code)
        await asyncio.sleep(2.5)  # also what is looked at twice has come by then
        await alice.say(type="ping")
        while (heard := await alice.hear())["type"] != "pong":
            assert scene.code not in json.dumps(heard), heard
        await phone.say(type="publish", fixes=[{"t": now_ms(), "lat": 48, "lng": 2}])
        await alice.hear_until(
            lambda m: m["type"] == "positions" and m["fixes"][:1] != []
        )
        # Whoever comes while blocked sees as little, in each way of coming.
        async with page_of(scene, cookie) as again:
            await again.say(
                type="follow", public=True, tick=0, since=now_ms() - 60_000, id="all"
            )
            for _ in range(20):
                assert scene.code not in json.dumps(await again.hear())
                await again.say(type="ping")
        await charlie.hear_until(is_bob)
        await scene.office.do("Follow.objects.filter(user=user).delete()")
        event = await alice.hear_type("event", "runner")
        assert (event["change"], event["runner"]["code"]) == ("added", scene.code)
        await alice.hear_until(is_bob)


async def test_an_unlisted_race_is_seen_by_its_link_and_lost_with_it(
    scene: Scene,
) -> None:
    cookie = await cookie_of(scene, f"alice-{scene.code}", None)
    plain = await scene.office.do(
        "now, hour = timezone.now(), timedelta(hours=1)\n"
        f"race = Race.objects.create(slug='{scene.code}', name='Secret', start=now,"
        " ends=now + hour, visibility='link')\n"
        "Entry.objects.create(race=race, runner=bob, bib='1')\n"
        "bob.visibility = 'race'; bob.save()\n"
        "link, plain = ShareLink.objects.issue("
        "label='Mum', race=race, expires_at=now + hour); print(plain)"
    )
    async with page_of(scene, cookie) as alice:
        await alice.say(type="follow", races=[scene.code], runners=[scene.code])
        errors = [await alice.hear_type("error") for _ in range(2)]
        assert {e["code"] for e in errors} == {"race.unknown", "runner.unknown"}
        await alice.say(type="follow", share=plain, tick=0)
        snapshot = await alice.hear_until(lambda m: bool(m.get("races")))
        assert [r["code"] for r in snapshot["runners"]] == [scene.code]
        await alice.hear_type("positions")
        # Who has the link may name the race, and the runner, too.
        await alice.say(type="follow", runners=[scene.code], races=[scene.code])
        await alice.hear_type("snapshot")
        await scene.office.do("link.revoke()")
        since = time.monotonic()
        lost = [await alice.hear_type("event", "access") for _ in range(2)]
        assert time.monotonic() - since < SOON
        assert {(e.get("runner"), e.get("race")) for e in lost} == {
            (scene.code, None),
            (None, scene.code),
        }
        assert await quiet(alice)


# What an organiser does

RACE = """
from runners.races.entries import split_set
now, hour = timezone.now(), timedelta(hours=1)
race = Race.objects.create(slug='{code}', name='Bobs', start=now - hour,
    ends=now + hour, visibility='{visibility}', line=[[48, 2], [48.1, 2]], length=11000)
half = Checkpoint.objects.create(race=race, name='Half', distance=5000)
entry = Entry.objects.create(race=race, runner=bob, bib='1', status='started')
link, plain = ShareLink.objects.issue(label='Mum', race=race, expires_at=now + hour)
print(plain)
"""
SET_BY_HAND = """
split = Split.objects.create(entry=entry, checkpoint=half, time=now, by_hand=True)
split_set(split=split)
print(half.pk)
"""


@pytest.mark.parametrize("visibility", ["public", "link"])
async def test_a_split_set_by_hand_is_told_to_whom_the_race_is_shown(
    scene: Scene, visibility: str
) -> None:
    plain = await scene.office.do(RACE.format(code=scene.code, visibility=visibility))
    await scene.office.do("bob.visibility = 'public'; bob.save()")
    async with (
        typed_client(scene.server.ws_url) as alice,
        typed_client(scene.server.ws_url) as charlie,
    ):
        await alice.say(type="follow", share=plain, tick=0)
        await charlie.say(type="follow", runners=[scene.code], public=True)
        for client in (alice, charlie):
            await client.hear_type("snapshot")
        half = int(await scene.office.do(SET_BY_HAND))
        since = time.monotonic()
        told = await alice.hear_type("event", "split")
        assert time.monotonic() - since < SOON
        assert (told["race"], told["checkpoint"]) == (scene.code, half)
        assert (told["distance"], told["corrected"]) == (5000, True)
        if visibility == "public":
            told = await charlie.hear_type("event", "split")
            assert told["checkpoint"] == half
        else:
            # To whoever has no link to it no race is named.
            heard = await heard_for(charlie, 0.5)
            assert scene.code in json.dumps(heard)
            assert not [m for m in heard if m.get("kind") == "split"]


async def heard_for(client: Client, seconds: float) -> list[Message]:
    """Return what comes within a time."""
    heard: list[Message] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                heard.append(await client.hear())
    return heard
