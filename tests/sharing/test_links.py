"""Share links: what they show until they end, and what nobody without one is told."""

from __future__ import annotations

import json
import time

import pytest

from tests.clients import typed_client
from tests.sharing.scene import SOON, Scene, cookie_of, page_of, quiet

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
            heard = await charlie.hear_all(0.5)
            assert scene.code in json.dumps(heard)
            assert not [m for m in heard if m.get("kind") == "split"]
