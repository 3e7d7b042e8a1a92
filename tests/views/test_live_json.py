from __future__ import annotations

import gzip
from datetime import timedelta
from typing import Any

import polyline
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.utils import timezone

from runners.models import (
    Entry,
    Follow,
    Race,
    Runner,
)
from runners.serving.process import Process
from runners.units.clock import milliseconds, now_ms
from tests.factories.people import make_link
from tests.factories.positions import make_latest, make_position
from tests.views.before_django import PAGES, get_before_django

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)


def make_runner(code: str, **fields: Any) -> Runner:
    """Make a runner with three positions in the last three seconds."""
    runner = Runner.objects.create(code=code, name=code.title(), **fields)
    now = timezone.now()
    for n in (3, 2, 1):
        make_position(runner, now, seconds_ago=n, lat=48, lng=2 + n)
    make_latest(runner, now, seconds_ago=1, lat=48, lng=3)
    return runner


def make_race(visibility: str = Race.Visibility.PUBLIC) -> Race:
    now = timezone.now()
    hour = timedelta(hours=1)
    return Race.objects.create(
        slug="half",
        name="Half",
        start=now - hour,
        ends=now + hour,
        visibility=visibility,
        line=[[48, 2], [48.1, 2]],
        length=11_000,
    )


def codes(answer: Any) -> list[str]:
    return sorted(item["code"] for item in answer.json()["runners"])


def test_a_poll_of_everybody_public_is_a_snapshot(client: Client) -> None:
    make_runner("bob")
    make_runner("eve", visibility=Runner.Visibility.PRIVATE)
    before = now_ms()
    answer = client.get("/live.json?public=1")
    after = now_ms()
    assert codes(answer) == ["bob"]
    body = answer.json()
    assert body["runners"][0]["fix"][1:3] == [48.0, 3.0]
    assert body["runners"][0]["trail"]
    assert body["more"] is False
    assert before <= body["time"] <= after
    assert answer["Cache-Control"] == "private, no-store"


def test_a_poll_since_has_what_was_stored_since(client: Client) -> None:
    bob = make_runner("bob")
    since = milliseconds(bob.latest.recorded_at)
    body = client.get(f"/live.json?runners=bob&since={since}").json()
    (late,) = body["late"]
    assert late["runner"] == "bob"
    assert [lng for _, _, lng in late["fixes"]] == [5.0, 4.0, 3.0]
    assert body["runners"][0]["trail"] == ""


def test_a_poll_omits_held_positions(client: Client) -> None:
    bob = make_runner("bob")
    now = timezone.now()
    make_position(bob, now, lat=12, lng=2, held=True)
    (item,) = client.get("/live.json?runners=bob").json()["runners"]
    assert item["fix"][1] == 48
    assert {lat for lat, _ in polyline.decode(item["trail"], 5)} == {48}
    since = milliseconds(now)
    (late,) = client.get(f"/live.json?runners=bob&since={since}").json()["late"]
    assert {lat for _, lat, _ in late["fixes"]} == {48}


def test_a_poll_of_a_race_has_its_course(client: Client) -> None:
    race = make_race()
    bob = make_runner("bob", visibility=Runner.Visibility.RACE)
    Entry.objects.create(race=race, runner=bob, bib="7")
    make_runner("eve")
    answer = client.get("/live.json?race=half")
    assert codes(answer) == ["bob"]
    assert answer.json()["runners"][0]["bib"] == "7"
    assert answer.json()["races"][0]["course"]["length"] == 11_000


def test_a_poll_omits_hidden_runners(
    client: Client, alice: User, alice_client: Client
) -> None:
    bob = make_runner("bob", visibility=Runner.Visibility.FOLLOWERS)
    Follow.objects.create(user=alice, runner=bob, status=Follow.Status.ACCEPTED)
    assert codes(alice_client.get("/live.json?runners=bob")) == ["bob"]
    stranger = client.get("/live.json?runners=bob,nobody")
    assert codes(stranger) == []
    # The replies for hidden and for unknown runners are identical.
    assert stranger.json()["refused"] == [
        {"code": "runner.unknown", "runner": "bob"},
        {"code": "runner.unknown", "runner": "nobody"},
    ]


def test_a_poll_of_a_link_shows_its_runners(client: Client) -> None:
    bob = make_runner("bob", visibility=Runner.Visibility.PRIVATE)
    link, token = make_link(bob, pin="1234")
    share = {"Spectate-Share": token}
    assert client.get("/live.json", headers=share).status_code == 404
    opened = share | {"Spectate-Share-Pin": "1234"}
    assert codes(client.get("/live.json", headers=opened)) == ["bob"]
    link.revoke()
    gone = client.get("/live.json", headers=opened)
    assert (gone.status_code, gone.json()["code"]) == (410, "share.revoked")


def test_an_unlisted_race_is_unknown_without_its_link(client: Client) -> None:
    race = make_race(Race.Visibility.LINK)
    answer = client.get("/live.json?race=half")
    assert answer.json()["refused"] == [{"code": "race.unknown", "race": "half"}]
    assert client.get("/races/half/").status_code == 404
    _, token = make_link(race=race)
    answer = client.get("/live.json", headers={"Spectate-Share": token})
    assert [item["slug"] for item in answer.json()["races"]] == ["half"]


@pytest.mark.parametrize("since", ["soon", "-1", "²", "9" * 30, "9" * 5000])
def test_an_invalid_since_is_refused(client: Client, since: str) -> None:
    answer = client.get("/live.json", {"public": "1", "since": since})
    assert answer.status_code == 400
    assert answer.json()["code"] == "request.invalid"


def test_a_poll_is_compressed(client: Client) -> None:
    make_runner("bob")
    answer = client.get("/live.json?public=1", headers={"Accept-Encoding": "gzip"})
    assert answer["Content-Encoding"] == "gzip"
    assert b'"bob"' in gzip.decompress(answer.content)


async def test_anybody_gets_the_answers_of_pages_before_django(
    process: Process,
) -> None:
    bob = await sync_to_async(make_runner)("bob")
    await sync_to_async(make_race)()
    since = milliseconds(bob.latest.recorded_at)
    gzipped = b"accept-encoding", b"gzip"
    for query in ("public=1", "race=half&runners=eve", f"runners=bob&since={since}"):
        status, headers, body = await get_before_django("/live.json", query, gzipped)
        page = await AsyncClient().get(f"/live.json?{query}")
        assert status == page.status_code == 200
        assert body | {"time": 0} == page.json() | {"time": 0}
        assert headers["Vary"] == "Accept-Encoding"
        others = {"Vary", "Content-Language", "Content-Length"}
        expected = {(n, v) for n, v in page.items() if n not in others}
        assert expected | {("Content-Encoding", "gzip")} == {
            (n, v) for n, v in headers.items() if n not in others
        }
    assert (await get_before_django("/live.json", "since=x"))[0] == 400


@pytest.mark.parametrize(
    "header", [(b"cookie", b"sessionid=x"), (b"spectate-share", b"x")]
)
async def test_a_viewer_with_more_rights_is_answered_by_django(
    process: Process, header: tuple[bytes, bytes]
) -> None:
    answer = await get_before_django("/live.json", "public=1", header)
    assert answer[0] == PAGES
