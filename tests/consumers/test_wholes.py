"""Following everybody public, or a race: those who join later included."""

from __future__ import annotations

import asyncio
import json
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients import seed_client, typed_client
from tests.servers import Server

GPX = """<?xml version="1.0"?>
<gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>
<trkpt lat="48.85" lon="2.35"/><trkpt lat="48.86" lon="2.35"/>
<trkpt lat="48.87" lon="2.36"/>
</trkseg></trk></gpx>"""


def now_ms() -> int:
    return int(time.time() * 1000)


def shell(server: Server, code: str) -> None:
    """Do something in another process, which has no layer to tell us of it."""
    server.manage("shell", "-v0", "-c", textwrap.dedent(code))


@pytest.fixture(scope="module")
def race(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("race") / "course.gpx"
    path.write_text(GPX)
    server.manage("create_race", str(path), "--name", "Park run", "--slug", "park")
    return "park"


def fixes_of(frame: dict[str, Any]) -> list[str]:
    return [row[0] for row in frame["fixes"]]


async def test_everybody_public_includes_who_joins_later(open_server: Server) -> None:
    async with (
        typed_client(open_server.ws_url) as alice,
        seed_client(open_server.ws_url) as bob,
    ):
        await alice.say(type="follow", public=True, tick=100, id=1)
        snapshot = await alice.hear_type("snapshot")
        assert "later" not in [r["code"] for r in snapshot["runners"]]
        await bob.say(userId="later", lat=48.85, lng=2.35)
        event = await alice.hear_type("event", "runner")
        assert event["change"] == "added"
        assert event["runner"]["code"] == "later"
        assert event["runner"]["fix"][1:3] == [48.85, 2.35]
        await bob.say(userId="later", lat=48.86, lng=2.35)
        frame = await alice.hear_until(
            lambda m: m["type"] == "positions" and bool(m["fixes"])
        )
        assert fixes_of(frame) == ["later"]


async def test_a_runner_without_a_fix_is_not_shown_to_everybody(
    open_server: Server,
) -> None:
    async with (
        seed_client(open_server.ws_url) as bob,
        typed_client(open_server.ws_url) as alice,
    ):
        await bob.say(initialRequest=True, following=["unborn"])
        await bob.say_raw("?")
        await bob.hear()
        await alice.say(type="follow", public=True)
        snapshot = await alice.hear_type("snapshot")
        assert "unborn" not in [r["code"] for r in snapshot["runners"]]


async def test_a_race_comes_with_its_course_checkpoints_and_entries(
    server: Server, race: str
) -> None:
    await asyncio.to_thread(
        shell,
        server,
        """
        from runners.models import *
        race = Race.objects.get(slug="park")
        runner = Runner.objects.create(code="anne", name="Anne", visibility="race")
        Entry.objects.create(race=race, runner=runner, bib="17")
        """,
    )
    async with typed_client(server.ws_url) as alice:
        await alice.say(type="follow", races=["park"])
        snapshot = await alice.hear()
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


async def test_an_entry_made_changed_and_removed_elsewhere_is_told_in_a_second(
    server: Server, race: str
) -> None:
    async with typed_client(server.ws_url) as alice:
        await alice.say(type="follow", races=["park"], tick=0)
        await alice.hear_type("snapshot")
        await asyncio.to_thread(
            shell,
            server,
            """
            from runners.models import *
            race = Race.objects.get(slug="park")
            runner = Runner.objects.create(code="dan", name="Dan", visibility="race")
            Entry.objects.create(race=race, runner=runner, bib="18")
            """,
        )
        event = await alice.hear_type("event", "runner")
        assert (event["change"], event["runner"]["bib"]) == ("added", "18")
        await asyncio.to_thread(
            shell,
            server,
            """
            from runners.models import *
            runner = Runner.objects.get(code="dan"); runner.name = "Daniel"
            runner.save()
            """,
        )
        event = await alice.hear_type("event", "runner")
        assert (event["change"], event["runner"]["name"]) == ("changed", "Daniel")
        await asyncio.to_thread(
            shell,
            server,
            'from runners.models import *; Runner.objects.get(code="dan").delete()',
        )
        event = await alice.hear_type("event", "runner")
        assert (event["change"], event["runner"]) == ("removed", "dan")


async def test_after_unfollow_nothing_of_the_race_comes(
    server: Server, race: str
) -> None:
    made = json.loads(server.manage("create_runner", "eve", "--name", "Eve"))
    await asyncio.to_thread(
        shell,
        server,
        """
        from runners.models import *
        Entry.objects.create(race=Race.objects.get(slug="park"), bib="19",
                             runner=Runner.objects.get(code="eve"))
        """,
    )
    async with (
        typed_client(server.ws_url) as alice,
        typed_client(server.ws_url, made["token"]) as eve,
    ):
        await alice.say(type="follow", races=["park"], tick=0)
        await alice.hear_type("snapshot")
        await eve.say(type="publish", fixes=[{"t": now_ms(), "lat": 48, "lng": 2}])
        assert fixes_of(await alice.hear_type("positions")) == ["eve"]
        await alice.say(type="unfollow", races=["park"])
        assert (await alice.hear_type("unfollowed"))["races"] == ["park"]
        await eve.say(type="publish", fixes=[{"t": now_ms(), "lat": 48, "lng": 2}])
        await eve.hear_type("ack")
        assert await alice.hear_nothing()


async def test_a_race_that_is_deleted_says_so(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "course.gpx"
    path.write_text(GPX)
    server.manage("create_race", str(path), "--name", "Short", "--slug", "short")
    async with typed_client(server.ws_url) as alice:
        await alice.say(type="follow", races=["short"])
        await alice.hear_type("snapshot")
        await asyncio.to_thread(
            shell,
            server,
            'from runners.models import *; Race.objects.get(slug="short").delete()',
        )
        event = await alice.hear_type("event", "race")
        assert event["race"] == {"slug": "short", "change": "removed"}


async def test_who_gives_up_is_told_to_all_who_follow(
    server: Server, race: str
) -> None:
    await asyncio.to_thread(
        shell,
        server,
        """
        from runners.models import *
        race = Race.objects.get(slug="park")
        runner = Runner.objects.create(code="tired", name="Tired")
        Entry.objects.create(race=race, runner=runner, bib="99", status="started")
        """,
    )
    async with (
        typed_client(server.ws_url) as alice,
        typed_client(server.ws_url) as dora,
    ):
        await alice.say(type="follow", races=[race])
        await dora.say(type="follow", runners=["tired"])
        for spectator in (alice, dora):
            await spectator.hear_type("snapshot")
        await asyncio.to_thread(
            shell,
            server,
            """
            from runners.models import *
            entry = Entry.objects.get(bib="99")
            entry.status = "dnf"
            entry.save()
            """,
        )
        for spectator in (alice, dora):
            # The new entry itself may be told first, as started.
            await spectator.hear_until(
                lambda m: m.get("change") == "changed" and m["runner"]["state"] == "dnf"
            )
            told = await spectator.hear_until(
                lambda m: m.get("kind") == "state" and m["state"] == "dnf"
            )
            assert told["runner"] == "tired"
