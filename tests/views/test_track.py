from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import gpxpy
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.db.models import F
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client
from django.utils import timezone

from runners import database
from runners.models import Follow, Position, Runner
from runners.views import track_files
from tests.factories.people import make_link
from tests.factories.positions import make_position

pytestmark = pytest.mark.django_db


@pytest.fixture
def bob() -> Runner:
    """Bob, who ran north in a straight line, with one detour to the east."""
    bob = Runner.objects.create(code="bob", name="Bob")
    start = timezone.now().replace(microsecond=0) - timedelta(hours=1)
    Position.objects.bulk_create(
        Position(
            runner=bob,
            recorded_at=start + timedelta(seconds=n),
            stored_at=start + timedelta(seconds=n),
            lat=48 + n / 1e4,
            lng=2 + (0.01 if n == 50 else 0),
            source="websocket",
        )
        for n in range(101)
    )
    return bob


def track(client: Client, query: str = "", **headers: str) -> Any:
    return client.get(f"/runners/bob/track.json{query}", headers=headers)


def test_a_track_has_every_point_oldest_first(client: Client, bob: Runner) -> None:
    answer = track(client).json()
    assert answer["code"] == "bob"
    assert [p[1] for p in answer["points"]] == [
        round(48 + n / 1e4, 6) for n in range(101)
    ]
    times = [p[0] for p in answer["points"]]
    assert times == sorted(times)


def test_detail_omits_points_on_the_line(client: Client, bob: Runner) -> None:
    points = track(client, "?detail=20").json()["points"]
    assert [round((p[1] - 48) * 1e4) for p in points] == [0, 49, 50, 51, 100]


def test_since_omits_points_that_were_stored_before(
    client: Client, bob: Runner
) -> None:
    last = track(client).json()["points"][-1][0]
    points = track(client, f"?since={last}").json()["points"]
    # Ten seconds overlap, because clocks differ and commits take time.
    assert len(points) == 11


@pytest.mark.parametrize(
    "query", ["?since=x", "?detail=-1", "?detail=nan", "?detail=1e9"]
)
def test_an_invalid_query_is_refused(client: Client, bob: Runner, query: str) -> None:
    answer = track(client, query)
    assert answer.status_code == 400
    assert answer.json()["code"] == "request.invalid"


@pytest.mark.parametrize(
    "path", ["track.json", "track.json?detail=20", "track.json?since=1", "track.gpx"]
)
def test_a_held_position_is_in_the_track_after_its_confirmation(
    client: Client, bob: Runner, path: str
) -> None:
    now = timezone.now()
    held = make_position(bob, now, lat=12.3456, lng=2, held=True)
    assert "12.3456" not in client.get(f"/runners/bob/{path}").text
    held.held = False
    held.save()
    assert "12.3456" in client.get(f"/runners/bob/{path}").text


def test_an_unchanged_track_is_not_sent_again(client: Client, bob: Runner) -> None:
    etag = track(client)["ETag"]
    assert track(client, **{"If-None-Match": etag}).status_code == 304
    make_position(bob)
    assert track(client, **{"If-None-Match": etag}).status_code == 200


def test_rights_are_checked_before_the_cache(client: Client, bob: Runner) -> None:
    etag = track(client)["ETag"]
    bob.visibility = Runner.Visibility.PRIVATE
    bob.save()
    hidden = track(client, **{"If-None-Match": etag})
    unknown = client.get("/runners/nobody/track.json")
    assert (hidden.status_code, unknown.status_code) == (404, 404)
    assert "private" in track_cache(client)


def track_cache(client: Client) -> str:
    Runner.objects.update(visibility=Runner.Visibility.PUBLIC)
    return str(track(client)["Cache-Control"])


def test_followers_see_the_track(client: Client, bob: Runner) -> None:
    bob.visibility = Runner.Visibility.FOLLOWERS
    bob.save()
    alice, charlie = [User.objects.create_user(n) for n in ("alice", "charlie")]
    Follow.objects.create(user=alice, runner=bob, status=Follow.Status.ACCEPTED)
    client.force_login(charlie)
    assert track(client).status_code == 404
    client.force_login(alice)
    assert track(client).status_code == 200


# The link is read in a separate thread, which sees committed rows only.
@pytest.mark.django_db(transaction=True)
def test_a_share_link_opens_the_track_until_it_ends(
    client: Client, bob: Runner
) -> None:
    bob.visibility = Runner.Visibility.PRIVATE
    bob.save()
    link, plain = make_link(bob, pin="4711")
    assert track(client, **{"Spectate-Share": plain}).status_code == 404
    both = {"Spectate-Share": plain, "Spectate-Share-Pin": "4711"}
    assert track(client, **both).status_code == 200
    link.revoke()
    assert track(client, **both).status_code == 404


def test_a_gpx_file_has_the_same_track(client: Client, bob: Runner) -> None:
    answer = client.get("/runners/bob/track.gpx")
    assert answer["Content-Type"] == "application/gpx+xml"
    (read,) = gpxpy.parse(answer.content.decode()).tracks
    points = [point for segment in read.segments for point in segment.points]
    assert len(points) == 101
    assert points[50].longitude == pytest.approx(2.01)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["track.json", "track.json?detail=20", "track.gpx"])
async def test_a_long_track_is_sent_in_parts(
    bob: Runner, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    visitor = AsyncClient()
    at_once = await visitor.get(f"/runners/bob/{path}")
    monkeypatch.setattr(track_files, "FIRST_PART", 25)
    monkeypatch.setattr(track_files, "PART", 25)
    streamed = await visitor.get(f"/runners/bob/{path}")
    assert isinstance(streamed, StreamingHttpResponse)
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", rest)
    parts = [part async for part in streamed]
    database.close_connections()
    # Five parts, the last one of a single point, and the end.
    assert len(parts) == 6
    # After each part but the first, a rest as long as it took.
    assert len(rests) == 4 and all(rests)
    if "detail" in path:
        seen = json.loads(b"".join(parts))["points"]
        assert {tuple(p) for p in at_once.json()["points"]} <= set(map(tuple, seen))
        assert len(seen) <= 5 + 2 * 5
    else:
        assert b"".join(parts) == at_once.content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_hidden", [True, False])
async def test_a_track_that_is_being_sent_has_nothing_from_after_its_right(
    bob: Runner, monkeypatch: pytest.MonkeyPatch, *, is_hidden: bool
) -> None:
    monkeypatch.setattr(track_files, "FIRST_PART", 25)
    streamed = await AsyncClient().get("/runners/bob/track.json")
    assert isinstance(streamed, StreamingHttpResponse)
    later = timezone.now()
    await bob.positions.acreate(recorded_at=later, stored_at=later, lat=49, lng=2)
    if is_hidden:
        await Runner.objects.aupdate(visibility=Runner.Visibility.PRIVATE)
    parts = [part async for part in streamed]
    database.close_connections()
    assert len(json.loads(b"".join(parts))["points"]) == (25 if is_hidden else 101)


def test_an_export_is_the_same_in_parts(bob: Runner) -> None:
    rows = list(bob.positions.values_list(*track_files.ExportJson.columns))

    def written(size: int) -> Any:
        file = track_files.ExportJson(bob)
        parts = [file.part(rows[n : n + size]) for n in range(0, len(rows), size)]
        return json.loads(file.start() + b"".join(parts) + file.end())

    assert written(25) == written(len(rows))
    assert len(written(25)["positions"]) == 101


def test_a_silence_starts_a_segment(client: Client, bob: Runner) -> None:
    Position.objects.filter(lat__gt=48.00505).update(
        recorded_at=F("recorded_at") + timedelta(minutes=20)
    )
    (read,) = gpxpy.parse(client.get("/runners/bob/track.gpx").text).tracks
    assert [len(segment.points) for segment in read.segments] == [51, 50]


def test_a_name_is_escaped(client: Client, bob: Runner) -> None:
    Runner.objects.update(name="<Bob> & Co")
    (read,) = gpxpy.parse(client.get("/runners/bob/track.gpx").text).tracks
    assert read.name == "<Bob> & Co"


def test_an_unavailable_database_is_503(
    client: Client, bob: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*args: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("runners.views.track.visible_runners", unavailable)
    answer = track(client)
    assert answer.status_code == 503
    assert answer.json()["code"] == "store.unavailable"
    assert answer["Retry-After"] == "2"
