"""Rights that end on open sockets: changed by a different process, without Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from runners.models import Follow, Runner, RunnerToken
from runners.preferences.runner_settings import sharing_until, visibility_set
from runners.units.clock import now_ms
from tests.clients import Message, seed_client, typed_client
from tests.factories.people import end_session, make_follow, make_phone, make_runner
from tests.sharing.live_bob import (
    Alice,
    LiveBob,
    expect_loss,
    follow_bob,
    make_alice,
    make_located_runner,
    open_page,
    short_duration,
    wait_for_bob,
)

Change = Callable[[Runner], object]


def hide(bob: Runner) -> None:
    bob.visibility = Runner.Visibility.PRIVATE
    bob.save()


def hide_by_query(bob: Runner) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility="private")


def delete_by_query(bob: Runner) -> None:
    Runner.objects.filter(pk=bob.pk).delete()


def end_sharing(bob: Runner) -> None:
    sharing_until(runner=bob, ends=timezone.now())


def end_sharing_soon(bob: Runner) -> None:
    sharing_until(runner=bob, ends=timezone.now() + timedelta(seconds=0.5))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (hide, "private"),
        (hide_by_query, "private"),
        (Runner.delete, "deleted"),
        (delete_by_query, "deleted"),
        (end_sharing, "expired"),
        (end_sharing_soon, "expired"),
    ],
)
async def test_a_stranger_loses_a_runner_who_is_no_longer_public(
    live: LiveBob, change: Change, reason: str
) -> None:
    async with typed_client(live.server.ws_url) as alice:
        await follow_bob(alice, live)
        await live.server.adatabase(change, live.bob)
        await expect_loss(alice, live, reason)


def unfollow(bob: Runner) -> None:
    bob.followers.get().delete()


def refuse(bob: Runner) -> None:
    bob.followers.update(status=Follow.Status.REFUSED)


def block(bob: Runner) -> None:
    bob.followers.update(status=Follow.Status.BLOCKED)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (unfollow, "revoked"),
        (refuse, "revoked"),
        (block, "blocked"),
        (hide, "private"),
    ],
)
async def test_a_follower_loses_a_runner_who_revokes_the_follow(
    live: LiveBob, change: Change, reason: str
) -> None:
    server, bob = live.server, live.bob
    await server.adatabase(visibility_set, runner=bob, visibility="followers")
    follower = await server.adatabase(make_alice, bob)
    async with open_page(live, follower) as alice:
        await follow_bob(alice, live)
        await server.adatabase(change, bob)
        await expect_loss(alice, live, reason)


async def test_a_seed_client_loses_a_runner_too(live: LiveBob) -> None:
    async with (
        seed_client(live.server.ws_url) as alice,
        typed_client(live.server.ws_url) as charlie,
    ):
        await alice.send(initialRequest=True, following=[live.code])
        await alice.receive()
        await follow_bob(charlie, live)
        await live.server.adatabase(hide, live.bob)
        # Only Charlie is notified. Both have lost the runner.
        await expect_loss(charlie, live, "private")
        await alice.received()
        await wait_for_bob(live)
        assert await alice.received() == []


async def test_a_blocked_user_loses_the_runner_in_topics_too(live: LiveBob) -> None:
    server, bob = live.server, live.bob
    stranger = await server.adatabase(make_alice, bob, None)
    # A different runner continues, because a topic does not end with one of its
    # runners.
    anne = await server.adatabase(make_phone, "anne")

    def is_bob(message: Message) -> bool:
        return message["type"] == "positions" and any(
            row[0] == live.code for row in message["fixes"]
        )

    async with (
        open_page(live, stranger) as alice,
        typed_client(live.server.ws_url) as charlie,
        typed_client(live.server.ws_url, anne) as phone,
    ):
        for client in (alice, charlie):
            await client.send(type="follow", public=True, tick=0, since=now_ms())
            await client.receive_until(is_bob)
        await server.adatabase(make_follow, stranger.user, bob, "pending")
        await server.adatabase(block, bob)
        event = await alice.receive_type("event", "runner")
        assert (event["change"], event["runner"]) == ("removed", live.code)
        # Different polls of the topic find these new runners.
        for code in ("nora", "olaf"):
            await server.adatabase(make_located_runner, code)
            while code not in json.dumps(received := await alice.receive()):
                assert live.code not in json.dumps(received), received
        await phone.send(type="publish", fixes=[{"t": now_ms(), "lat": 48, "lng": 2}])
        # The fix is in her item if she joins the topic after it, otherwise in a
        # position.
        await alice.receive_until(
            lambda m: (
                (m["type"] == "positions" and m["fixes"] != [])
                or (m["type"] == "event" and m["runner"]["fix"] is not None)
            )
        )
        # Sockets that join while blocked see nothing either, in snapshot and backfill.
        async with open_page(live, stranger) as again:
            await again.send(
                type="follow", public=True, tick=0, since=now_ms() - 60_000, id="all"
            )
            for _ in range(20):
                assert live.code not in json.dumps(await again.receive())
                await again.send(type="ping")
        await charlie.receive_until(is_bob)
        await server.adatabase(unfollow, bob)
        event = await alice.receive_type("event", "runner")
        assert (event["change"], event["runner"]["code"]) == ("added", live.code)
        await alice.receive_until(is_bob)


def sign_out(alice: Alice) -> None:
    end_session(alice.cookie)


def delete_account(alice: Alice) -> None:
    alice.user.delete()


def deactivate(alice: Alice) -> None:
    alice.user.is_active = False
    alice.user.save()


def change_password(alice: Alice) -> None:
    alice.user.set_password("another")
    alice.user.save()


@pytest.mark.parametrize(
    "change", [sign_out, delete_account, deactivate, change_password]
)
async def test_a_page_whose_session_ends_is_closed_with_4401(
    live: LiveBob, change: Callable[[Alice], object]
) -> None:
    server, bob = live.server, live.bob
    await server.adatabase(visibility_set, runner=bob, visibility="followers")
    follower = await server.adatabase(make_alice, bob)
    async with open_page(live, follower) as alice:
        await follow_bob(alice, live)
        await server.adatabase(change, follower)
        error = await alice.receive_type("error")
        assert error["code"] == "session.ended"
        assert await alice.receive_close() == 4401


def revoke_token(bob: Runner) -> None:
    bob.tokens.get().revoke()


def delete_token(bob: Runner) -> None:
    bob.tokens.get().delete()


def let_token_expire(bob: Runner) -> None:
    bob.tokens.update(expires_at=timezone.now())


@pytest.mark.parametrize(
    "change", [revoke_token, delete_token, let_token_expire, Runner.delete]
)
async def test_a_phone_whose_token_ends_is_closed_with_4401(
    live: LiveBob, change: Change
) -> None:
    await live.phone.receive_type("ack")
    await live.server.adatabase(change, live.bob)
    error = await live.phone.receive_until(lambda m: m.get("code") == "token.revoked")
    assert error["detail"]
    assert await live.phone.receive_close() == 4401


async def test_a_phone_whose_token_moves_to_a_different_runner_reconnects(
    live: LiveBob,
) -> None:
    server, bob = live.server, live.bob
    await live.phone.receive_type("ack")
    eve = await server.adatabase(make_runner, f"{bob.code}-eve", "Eve")
    await server.adatabase(bob.tokens.update, runner=eve)
    await live.phone.receive_until(lambda m: m.get("code") == "token.moved")
    assert await live.phone.receive_close() == 1012
    async with typed_client(server.ws_url, live.token) as phone:
        fix = {"t": now_ms(), "lat": 48, "lng": 2}
        await phone.send(type="publish", fixes=[fix])
        await phone.receive_type("ack")
    assert await server.adatabase(eve.positions.count) == 1


def make_short_token(bob: Runner, life: timedelta) -> str:
    row, plain = RunnerToken.objects.issue(bob, name="short")
    row.expires_at = timezone.now() + life
    row.save()
    return plain


async def test_a_token_expires_by_the_clock(live: LiveBob) -> None:
    server = live.server
    began = time.monotonic()
    async with typed_client(server.ws_url, live.token):
        life = short_duration(began)
    token = await server.adatabase(make_short_token, live.bob, life)
    async with typed_client(server.ws_url, token) as phone:
        assert await phone.receive_close() == 4401
