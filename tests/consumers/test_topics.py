"""Topics of all public runners or of a race, with runners who join later."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from runners.models import Race
from runners.races.course import Course
from runners.races.setup import race_create
from runners.units.clock import now_ms
from tests.clients import Client, Message, seed_client, typed_client
from tests.factories.people import make_token
from tests.races.field import make_entry, pass_mats
from tests.servers import Server

GPX = """<?xml version="1.0"?>
<gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>
<trkpt lat="48.85" lon="2.35"/><trkpt lat="48.86" lon="2.35"/>
<trkpt lat="48.87" lon="2.36"/>
</trkseg></trk></gpx>"""


def make_race(slug: str) -> Race:
    course = Course.from_gpx(GPX.encode())
    return race_create(
        slug=slug, name=slug.title(), course=course, start=timezone.now()
    )


@pytest.fixture(scope="module")
def race(server: Server) -> Race:
    return server.database(make_race, "park")


async def receive_positions(client: Client) -> list[str]:
    """Return the codes of the next positions."""
    frame = await client.receive_type("positions")
    return [row[0] for row in frame["fixes"]]


async def receive_change(client: Client, code: str, change: str) -> Any:
    """Return the runner of the next event with this change.

    An event of an entry that was made just before the follow may come first.
    """

    def is_it(message: Message) -> bool:
        if message.get("change") != change:
            return False
        runner = message["runner"]
        return bool((runner if change == "removed" else runner["code"]) == code)

    return (await client.receive_until(is_it))["runner"]


async def test_a_mat_sends_the_new_estimate_to_all_who_follow_its_runner(
    server: Server, race: Race
) -> None:
    await server.adatabase(make_entry, race, "mia", "71")
    async with (
        typed_client(server.ws_url) as alice,
        typed_client(server.ws_url) as carl,
    ):
        for client, follow in (
            (alice, {"races": ["park"]}),
            (carl, {"runners": ["mia"]}),
        ):
            await client.send(type="follow", **follow)
            snapshot = await client.receive_type("snapshot")
            (mia,) = [item for item in snapshot["runners"] if item["code"] == "mia"]
            assert mia["estimate"] is None
        await server.adatabase(pass_mats, race, "71", ("Start", 0))
        for client in (alice, carl):
            event = await client.receive_until(
                lambda m: (
                    bool(m["kind"] == "runner" and m["runner"]["estimate"])
                    if m["type"] == "event"
                    else False
                )
            )
            estimate = event["runner"]["estimate"]
            assert estimate["t"] == round(race.start.timestamp() * 1000)
            assert [estimate["nodes"][n][1] for n in (0, -1)] == [0, 1000]


async def test_the_public_topic_includes_runners_who_join_later(
    open_server: Server,
) -> None:
    async with (
        typed_client(open_server.ws_url) as alice,
        seed_client(open_server.ws_url) as bob,
    ):
        await alice.send(type="follow", public=True, tick=100, id=1)
        snapshot = await alice.receive_type("snapshot")
        assert "later" not in [r["code"] for r in snapshot["runners"]]
        await bob.send(userId="later", lat=48.85, lng=2.35)
        later = await receive_change(alice, "later", "added")
        assert later["fix"][1:3] == [48.85, 2.35]
        await bob.send(userId="later", lat=48.86, lng=2.35)
        assert await receive_positions(alice) == ["later"]


async def test_the_public_topic_omits_runners_without_a_fix(
    open_server: Server,
) -> None:
    async with (
        seed_client(open_server.ws_url) as bob,
        typed_client(open_server.ws_url) as alice,
    ):
        await bob.send(initialRequest=True, following=["unborn"])
        await bob.send_raw("?")
        await bob.receive()
        await alice.send(type="follow", public=True)
        snapshot = await alice.receive_type("snapshot")
        assert "unborn" not in [r["code"] for r in snapshot["runners"]]


async def test_a_race_snapshot_has_the_course_checkpoints_and_entries(
    server: Server, race: Race
) -> None:
    await server.adatabase(make_entry, race, "anne", "17")
    async with typed_client(server.ws_url) as alice:
        await alice.send(type="follow", races=["park"])
        snapshot = await alice.receive()
        (item,) = snapshot["races"]
        assert item["slug"] == "park"
        assert item["course"]["length"] == pytest.approx(2440, rel=0.01)
        assert [c["kind"] for c in item["checkpoints"]][0] == "start"
        assert item["checkpoints"][0]["lat"] == pytest.approx(48.85, abs=1e-4)
        anne = next(r for r in snapshot["runners"] if r["code"] == "anne")
        assert (anne["bib"], anne["state"], anne["race"]) == (
            "17",
            "registered",
            "park",
        )
        assert anne["fix"] is None


async def test_added_changed_and_removed_entries_are_sent(
    server: Server, race: Race
) -> None:
    async with typed_client(server.ws_url) as alice:
        await alice.send(type="follow", races=["park"], tick=0)
        await alice.receive_type("snapshot")
        dan = (await server.adatabase(make_entry, race, "dan", "18")).runner
        assert (await receive_change(alice, "dan", "added"))["bib"] == "18"
        dan.name = "Daniel"
        await server.adatabase(dan.save)
        assert (await receive_change(alice, "dan", "changed"))["name"] == "Daniel"
        await server.adatabase(dan.delete)
        await receive_change(alice, "dan", "removed")


async def test_nothing_of_a_race_is_sent_after_unfollow(
    server: Server, race: Race
) -> None:
    entry = await server.adatabase(make_entry, race, "eve", "19")
    token = await server.adatabase(make_token, entry.runner)
    async with (
        typed_client(server.ws_url) as alice,
        typed_client(server.ws_url, token) as eve,
    ):
        await alice.send(type="follow", races=["park"], tick=0)
        await alice.receive_type("snapshot")
        await eve.send(type="publish", fixes=[{"t": now_ms(), "lat": 48, "lng": 2}])
        assert await receive_positions(alice) == ["eve"]
        await alice.send(type="unfollow", races=["park"])
        assert (await alice.receive_type("unfollowed"))["races"] == ["park"]
        await eve.send(type="publish", fixes=[{"t": now_ms(), "lat": 48, "lng": 2}])
        await eve.receive_type("ack")
        assert await alice.received() == []


async def test_deleting_a_race_sends_an_event(server: Server) -> None:
    race = await server.adatabase(make_race, "short")
    async with typed_client(server.ws_url) as alice:
        await alice.send(type="follow", races=["short"])
        await alice.receive_type("snapshot")
        await server.adatabase(race.delete)
        event = await alice.receive_type("event", "race")
        assert event["race"] == {"slug": "short", "change": "removed"}


async def test_a_dnf_is_sent_to_followers_of_the_race_and_of_the_runner(
    server: Server, race: Race
) -> None:
    entry = await server.adatabase(
        make_entry, race, "tired", "99", visibility="public", status="started"
    )
    async with (
        typed_client(server.ws_url) as alice,
        typed_client(server.ws_url) as dora,
    ):
        await alice.send(type="follow", races=[race.slug])
        await dora.send(type="follow", runners=["tired"])
        for spectator in (alice, dora):
            await spectator.receive_type("snapshot")
        entry.status = "dnf"
        await server.adatabase(entry.save)
        for spectator in (alice, dora):
            await spectator.receive_until(
                lambda m: m.get("change") == "changed" and m["runner"]["state"] == "dnf"
            )
            event = await spectator.receive_until(
                lambda m: m.get("kind") == "state" and m["state"] == "dnf"
            )
            assert event["runner"] == "tired"
