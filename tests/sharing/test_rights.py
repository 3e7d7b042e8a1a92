"""Rights that end, on open sockets: from a shell, without Redis, within a second."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.clients import Message, seed_client, typed_client
from tests.sharing.scene import (
    SOON,
    Scene,
    cookie_of,
    loses_bob,
    now_ms,
    page_of,
    sees_bob,
)


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
