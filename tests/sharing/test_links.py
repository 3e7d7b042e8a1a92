"""Share links: their contents until they end, and what strangers cannot see."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.utils import timezone

from runners.models import Entry, Passing, Race, Runner, ShareLink, Split
from runners.preferences.runner_settings import visibility_set
from runners.races.entries import splits_set
from runners.timing.reads import read_of
from runners.timing.storage import passings_store
from tests.clients import Client, typed_client
from tests.factories.people import make_link
from tests.races.field import make_race
from tests.servers import Server
from tests.sharing.live_bob import (
    LiveBob,
    expect_no_positions,
    make_alice,
    open_page,
    short_duration,
)


async def test_a_share_link_shows_a_private_runner_until_it_is_revoked(
    live: LiveBob,
) -> None:
    server, bob = live.server, live.bob
    await server.adatabase(visibility_set, runner=bob, visibility="private")
    link, plain = await server.adatabase(make_link, bob)
    async with typed_client(server.ws_url) as mum:
        await mum.send(type="follow", share=plain, tick=0)
        snapshot = await mum.receive_type("snapshot")
        assert [r["code"] for r in snapshot["runners"]] == [live.code]
        await mum.receive_type("positions")
        await server.adatabase(link.revoke)
        error = await mum.receive_type("error")
        assert error["code"] == "share.ended"
        assert await mum.receive_close() == 4403
    async with typed_client(server.ws_url) as mum:
        await mum.send(type="follow", share=plain)
        assert (await mum.receive())["code"] == "share.revoked"
        await mum.send(type="follow", share="never existed")
        assert (await mum.receive())["code"] == "share.unknown"


@contextlib.asynccontextmanager
async def opened(server: Server, link: tuple[ShareLink, str]) -> AsyncIterator[Client]:
    """Open a link and receive positions."""
    async with typed_client(server.ws_url) as mum:
        await mum.send(type="follow", share=link[1], tick=0)
        await mum.receive_type("positions")
        yield mum


async def test_a_share_link_expires_by_the_clock(live: LiveBob) -> None:
    server, bob = live.server, live.bob
    await server.adatabase(visibility_set, runner=bob, visibility="private")
    began = time.monotonic()
    async with opened(server, await server.adatabase(make_link, bob)):
        life = short_duration(began)
    link, plain = await server.adatabase(make_link, bob, life=life)
    async with opened(server, (link, plain)) as mum:
        assert await mum.receive_close() == 4403
    async with typed_client(server.ws_url) as mum:
        await mum.send(type="follow", share=plain)
        assert (await mum.receive())["code"] == "share.expired"


async def test_a_share_link_with_a_pin_requires_it(live: LiveBob) -> None:
    server = live.server
    _, plain = await server.adatabase(make_link, live.bob, pin="4711")
    async with typed_client(server.ws_url) as mum:
        for pin in ("", "1234"):
            await mum.send(type="follow", share=plain, pin=pin)
            assert (await mum.receive())["code"] == "share.pin"
        await mum.send(type="follow", share=plain, pin="4711")
        # A position may arrive before the snapshot.
        await mum.receive_type("snapshot")


async def test_a_locked_share_link_refuses_its_pin_on_a_socket(live: LiveBob) -> None:
    server = live.server
    _, plain = await server.adatabase(make_link, live.bob, pin="473829")

    def guess() -> None:
        for number in range(10):
            pin = f"{number:06}"
            headers = {"Spectate-Share": plain, "Spectate-Share-Pin": pin}
            with pytest.raises(HTTPError):
                urlopen(Request(f"{server.url}/live.json", headers=headers))

    await asyncio.to_thread(guess)
    async with typed_client(server.ws_url) as mum:
        await mum.send(type="follow", share=plain, pin="473829")
        error = await mum.receive()
    assert error["code"] == "rate.limited"
    assert 0 < error["after"] <= 60_000


async def test_an_unlisted_race_is_visible_by_its_link_and_lost_with_it(
    live: LiveBob,
) -> None:
    server, bob = live.server, live.bob
    page = await server.adatabase(make_alice, bob, None)
    race = await server.adatabase(
        make_race, slug=bob.code, line=[], length=0, visibility="link"
    )
    await server.adatabase(Entry.objects.create, race=race, runner=bob, bib="1")
    await server.adatabase(visibility_set, runner=bob, visibility="race")
    link, plain = await server.adatabase(make_link, race=race)
    async with open_page(live, page) as alice:
        await alice.send(type="follow", races=[live.code], runners=[live.code])
        errors = [await alice.receive_type("error") for _ in range(2)]
        assert {e["code"] for e in errors} == {"race.unknown", "runner.unknown"}
        await alice.send(type="follow", share=plain, tick=0)
        snapshot = await alice.receive_until(lambda m: bool(m.get("races")))
        assert [r["code"] for r in snapshot["runners"]] == [live.code]
        await alice.receive_type("positions")
        # Viewers with the link may name the race and the runner too.
        await alice.send(type="follow", runners=[live.code], races=[live.code])
        await alice.receive_type("snapshot")
        await server.adatabase(link.revoke)
        lost = [await alice.receive_type("event", "access") for _ in range(2)]
        assert {(e.get("runner"), e.get("race")) for e in lost} == {
            (live.code, None),
            (None, live.code),
        }
        await expect_no_positions(alice, live)


def make_bobs_race(bob: Runner, *, visibility: str) -> Race:
    """Make a race with Bob's code, in which he runs, with one split at 5 km."""
    race = make_race(slug=bob.code, visibility=visibility)
    race.checkpoints.exclude(distance=5_000).delete()
    Entry.objects.create(race=race, runner=bob, bib="1", status="started")
    return race


def set_split(race: Race, by: str) -> Split:
    """Set the runner's split by hand, or take it with a mat."""
    if by == "mat":
        read = read_of("5 km", "a line", "1", timezone.now())
        passings_store(race=race, source=Passing.Source.MYLAPS, reads=[read])
        return Split.objects.get(entry__race=race)
    split = Split.objects.create(
        entry=race.entries.get(),
        checkpoint=race.checkpoints.get(),
        time=timezone.now(),
        by_hand=True,
    )
    splits_set(splits=[split])
    return split


@pytest.mark.parametrize("by", ["hand", "mat"])
@pytest.mark.parametrize("visibility", ["public", "link"])
async def test_a_split_by_hand_or_by_a_mat_is_sent_to_viewers_of_the_race(
    live: LiveBob, visibility: str, by: str
) -> None:
    server = live.server
    race = await server.adatabase(make_bobs_race, live.bob, visibility=visibility)
    _, plain = await server.adatabase(make_link, race=race)
    async with (
        typed_client(server.ws_url) as alice,
        typed_client(server.ws_url) as charlie,
    ):
        await alice.send(type="follow", share=plain, tick=0)
        await charlie.send(type="follow", runners=[live.code], public=True)
        for client in (alice, charlie):
            await client.receive_type("snapshot")
        half = (await server.adatabase(set_split, race, by)).checkpoint_id
        event = await alice.receive_type("event", "split")
        assert (event["race"], event["checkpoint"]) == (live.code, half)
        assert (event["distance"], event["corrected"]) == (5000, by == "hand")
        if visibility == "public":
            event = await charlie.receive_type("event", "split")
            assert event["checkpoint"] == half
        else:
            # Viewers without the link receive no name of the race.
            received = await charlie.received()
            while live.code not in json.dumps(received):
                received.append(await charlie.receive())
            assert not [m for m in received if m.get("kind") == "split"]
