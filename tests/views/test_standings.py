from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from runners import database
from runners.models import Entry, Race
from runners.races.race_data import Ground, rows_of
from runners.races.standings import Row
from runners.views.races import listing
from tests.factories.people import make_link
from tests.races.field import make_entry, make_field, make_race
from tests.views.standings import get_standings, page, ranks, table

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)


def test_standings_have_order_times_and_gaps(client: Client) -> None:
    make_field(make_race())
    answer = get_standings(client)
    assert ranks(answer) == [
        ("ann", 1),
        ("bob", 2),
        ("cleo", 3),
        ("eli", None),
        ("dan", None),
    ]
    body = answer.json()
    assert body["states"] == {"finished": 2, "started": 1, "dnf": 1, "registered": 1}
    assert (body["entries"], body["hidden"], body["matching"]) == (5, 0, 5)
    assert (body["categories"], body["waves"]) == (["M", "W"], ["Red"])
    ann, bob, cleo, *_ = body["standings"]
    assert (ann["gun_time"], ann["gap"]) == (2_000_000, None)
    assert (bob["gun_time"], bob["chip_time"], bob["gap"]) == (
        2_160_000,
        2.1e6,
        160_000,
    )
    assert (cleo["category_rank"], cleo["wave_rank"]) == (2, None)
    assert cleo["gap"] == 7_500 * 0.1 * 1000
    assert cleo["last"]["checkpoint"] == "7.5 km"
    assert "splits" not in cleo


def test_groups_keep_the_overall_ranks(client: Client) -> None:
    make_field(make_race())
    assert ranks(get_standings(client, "?category=M")) == [
        ("bob", 2),
        ("eli", None),
        ("dan", None),
    ]
    assert ranks(get_standings(client, "?wave=Red&by=chip")) == [("ann", 1), ("bob", 2)]
    assert ranks(get_standings(client, "?q=CLE")) == [("cleo", 3)]
    assert ranks(get_standings(client, "?from=2&rows=2")) == [("bob", 2), ("cleo", 3)]
    (row,) = get_standings(client, "?q=cleo&splits=1").json()["standings"]
    assert [s["checkpoint"] for s in row["splits"]] == [
        "Start",
        "2.5 km",
        "5 km",
        "7.5 km",
    ]
    assert row["splits"][1]["pace"] == 300.0


def test_a_club_has_its_ranks_and_a_field_is_listed_in_brief(client: Client) -> None:
    make_field(make_race())
    Entry.objects.filter(runner__code__in=["bob", "cleo", "dan"]).update(club="Mill")
    answer = get_standings(client, "?club=Mill&brief=1").json()
    assert answer["clubs"] == ["Mill"]
    bob, cleo, dan = answer["standings"]
    assert bob == {
        "runner": "bob",
        "rank": 1,
        "category": "M",
        "category_rank": 1,
        "status": "finished",
        "gun_time": 2_160_000,
    }
    assert (cleo["rank"], cleo["gun_time"]) == (2, None)
    assert (dan["rank"], dan["status"]) == (None, "dnf")
    assert ranks(get_standings(client, "?club=Mill")) == [
        *(("bob", 2), ("cleo", 3), ("dan", None))
    ]
    html = page(client, "?club=Mill")
    assert "<option selected>Mill</option>" in html and "Ann" not in html


def test_named_runners_keep_their_ranks(client: Client) -> None:
    make_field(make_race())
    answer = get_standings(client, "?runners=cleo,bob,nobody")
    assert ranks(answer) == [("bob", 2), ("cleo", 3)]
    many = ",".join(f"runner-{n}" for n in range(101))
    assert get_standings(client, f"?runners={many}").status_code == 400


def test_an_invalid_query_is_refused(client: Client) -> None:
    make_race()
    for query in ("by=sun", "from=0", "from=x", "rows=99999", "from=-1", "rows=1e3"):
        answer = get_standings(client, f"?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["code"] == "request.invalid"
        assert client.get(f"/races/ten/standings/?{query}").status_code == 400


def test_standings_may_take_longer_than_other_reads(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = make_field(make_race())
    _, token = make_link(race=race)
    # This opens the link.
    client.get(f"/s/{token}/")
    # No read is fast enough for this, and no long work ends.
    for pool in (database._pool, database._work_pool):
        monkeypatch.setattr(pool, "timeout", 0.0)
    assert len(table(client)) > 1
    assert b"Bob" in client.get(f"/s/{token}/standings.csv").content
    assert len(ranks(get_standings(client))) == 5
    assert "Bob" in page(client)


def test_rows_are_shared_for_as_long_as_they_took_to_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_entry(make_race(), "bob", "7", pace=0.3)
    clock: Any = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    reads: list[float] = []

    def read_slowly(race: Race, ground: Ground) -> list[Row]:
        reads.append(clock.now)
        clock.now += 30
        return rows_of(race, ground)

    monkeypatch.setattr(listing, "rows_of", read_slowly)
    monkeypatch.setattr(listing, "time", clock)
    listing.forget_kept()
    for clock.now in (100.0, 131.0, 159.0, 161.0):
        answer = client.get("/races/ten/standings.json")
        assert ranks(answer) == [("bob", 1)]
    assert reads == [100.0, 161.0]
    listing.forget_kept()
