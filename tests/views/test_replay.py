from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from runners.models import Entry, Position, Race, Runner, Wave
from runners.units.clock import milliseconds
from runners.views.share_header import SHARE_HEADER
from tests.factories.people import make_link
from tests.factories.races import make_bare_race

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 9, 6, 8, 0, tzinfo=UTC)


@pytest.fixture
def race() -> Race:
    """A race with Bob, public, and Eve, hidden; one fix per second, one jump."""
    race = make_bare_race("half", START, hours=2)
    for bib, visibility in (("bob", "public"), ("eve", "private")):
        runner = Runner.objects.create(code=bib, name=bib, visibility=visibility)
        Entry.objects.create(race=race, runner=runner, bib=bib)
        Position.objects.bulk_create(
            Position(
                runner=runner,
                recorded_at=START + timedelta(seconds=n),
                stored_at=START + timedelta(seconds=n),
                lat=48 + n / 1e4,
                lng=9 if n == 10 else 2,
                held=n == 10,
                progress=11 * n,
                source="x",
            )
            for n in range(400)
        )
    return race


def replay(
    client: Client, at: datetime, headers: Mapping[str, str] | None = None
) -> Any:
    address = f"/races/half/replay.json?from={milliseconds(at)}"
    return client.get(address, headers=headers)


def test_a_replay_is_sent_in_chunks_of_thinned_points(
    client: Client, race: Race
) -> None:
    chunk = replay(client, START + timedelta(seconds=100)).json()
    assert chunk["from"] == milliseconds(START)
    (bob,) = chunk["runners"]
    assert bob["code"] == "bob"
    # One point every five seconds. The held fix is omitted.
    assert [(p[0] - chunk["from"]) // 1000 for p in bob["points"]][:4] == [0, 5, 11, 16]
    assert bob["points"][1][1:] == [48.0005, 2.0, 55]
    assert bob["points"][-1][0] < chunk["from"] + chunk["chunk"]


def test_a_replay_shows_runners_who_are_visible_now(client: Client, race: Race) -> None:
    assert len(replay(client, START).json()["runners"]) == 1
    Runner.objects.filter(code="bob").update(visibility="private")
    assert replay(client, START).json()["runners"] == []


def test_a_replay_has_the_gun_of_each_wave(client: Client, race: Race) -> None:
    assert replay(client, START).json()["guns"] == [milliseconds(START)]
    gun = START + timedelta(minutes=2)
    Entry.objects.filter(bib="bob").update(
        wave=Wave.objects.create(race=race, name="B", start=gun)
    )
    chunk = replay(client, START).json()
    assert chunk["guns"] == [milliseconds(START), milliseconds(gun)]
    assert [bob["gun"] for bob in chunk["runners"]] == [milliseconds(gun)]


def test_only_anonymous_replays_may_be_kept_by_browsers(
    client: Client, race: Race
) -> None:
    assert "Spectate-Offline" in replay(client, START).headers
    _, plain = make_link(race=race)
    shared = replay(client, START, {SHARE_HEADER: plain})
    assert shared.status_code == 200 and "Spectate-Offline" not in shared.headers
    client.force_login(User.objects.create_user("mum"))
    assert "Spectate-Offline" not in replay(client, START).headers


def test_a_replay_of_an_unlisted_race_is_unknown(client: Client, race: Race) -> None:
    Race.objects.update(visibility=Race.Visibility.LINK)
    assert replay(client, START).status_code == 404


@pytest.mark.parametrize("text", ["", "-1", "soon", "9" * 20, "9" * 5000])
def test_an_invalid_from_is_refused(client: Client, race: Race, text: str) -> None:
    answer = client.get("/races/half/replay.json", {"from": text})
    assert (answer.status_code, answer.json()["code"]) == (400, "request.invalid")
