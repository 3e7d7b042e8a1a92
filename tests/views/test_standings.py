from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from runners import database
from runners.models import (
    Checkpoint,
    Entry,
    Follow,
    LatestPosition,
    Race,
    Runner,
    ShareLink,
)
from runners.races.race_data import Ground, rows_of
from runners.races.standings import Row
from runners.views.races import listing
from tests.factories.people import make_follow, make_link
from tests.races.field import make_entry, make_field, make_race

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

Visibility = Runner.Visibility


def get_standings(client: Client, query: str = "", **headers: str) -> Any:
    listing.forget_kept()
    return client.get(f"/races/ten/standings.json{query}", headers=headers)


def page(client: Client, query: str = "") -> str:
    listing.forget_kept()
    answer = client.get(f"/races/ten/standings/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def ranks(answer: Any) -> list[tuple[str, int | None]]:
    return [(row["runner"], row["rank"]) for row in answer.json()["standings"]]


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


def test_off_course_and_out_are_shown(client: Client) -> None:
    race = make_race()
    cleo = make_entry(race, "cleo", "3", pace=0.3)
    dan = make_entry(race, "dan", "4", pace=0.4)
    LatestPosition.objects.filter(pk=cleo.runner_id).update(
        race_state={"entry": cleo.pk, "version": 1, "state": {"s": "off_course"}}
    )
    dan.status = Entry.Status.DNF
    dan.save()
    assert dan.out_at is not None

    first, second = get_standings(client).json()["standings"]
    assert (first["status"], first["state"], first["out"]) == (
        *("started", "off_course", None),
    )
    assert (second["state"], second["out"]) == (
        "dnf",
        round(dan.out_at.timestamp() * 1000),
    )
    assert "Off course" in page(client)
    entry = client.get("/races/ten/runners/3/").content.decode()
    assert "Off course" in entry
    since = f"{dan.out_at:%H:%M}"
    assert since in client.get("/races/ten/runners/4/").content.decode()


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


def test_hidden_runners_are_omitted_and_counted(
    client: Client, alice: User, alice_client: Client
) -> None:
    race = make_race()
    bob = make_entry(race, "bob", "1", pace=0.25, visibility=Visibility.FOLLOWERS)
    make_entry(race, "cleo", "2", pace=0.3)
    make_entry(race, "eve", "3", pace=0.35, visibility=Visibility.PRIVATE)
    make_follow(alice, bob.runner, shown_from=race.start)
    answer = get_standings(client)
    assert ranks(answer) == [("cleo", 1)]
    assert answer.json()["hidden"] == 2
    assert ranks(get_standings(alice_client)) == [("bob", 1), ("cleo", 2)]
    html = page(client)
    assert "2 of 3 runners are hidden" in html
    assert "Eve" not in html
    assert client.get("/races/ten/runners/3/").status_code == 404


@pytest.mark.parametrize("query", ["", "?category=W", "?wave=Red", "?by=chip"])
def test_a_hidden_runner_changes_no_rank_gap_or_state(
    client: Client, query: str
) -> None:
    """The gap to a hidden leader would reveal their position."""
    race = make_field(make_race())
    red = race.waves.get()
    bodies = []
    for pace, status in ((0.22, "finished"), (0.25, "started"), (1.0, "dnf")):
        eve = make_entry(
            race, "eve", "6", pace=pace, category="W", wave=red, status=status
        )
        eve.runner.visibility = Visibility.PRIVATE
        eve.runner.save()
        body = get_standings(client, query).json()
        bodies.append({**body, "time": None})
        eve.runner.delete()
    alone = get_standings(client, query).json()
    assert bodies[0]["hidden"] == 1
    assert bodies == 3 * [{**alone, "time": None, "entries": 6, "hidden": 1}]


def test_an_organiser_gets_the_official_ranks(
    client: Client, alice: User, alice_client: Client
) -> None:
    race = make_race()
    make_entry(race, "eve", "3", pace=0.21, visibility=Visibility.PRIVATE)
    make_entry(race, "bob", "1", pace=0.3)
    assert ranks(get_standings(alice_client)) == [("bob", 1)]
    # Permission to view the race office's pages is not enough.
    alice.is_staff = True
    alice.save()
    alice.user_permissions.set(Permission.objects.filter(codename="view_race"))
    assert ranks(get_standings(alice_client)) == [("bob", 1)]
    alice.user_permissions.set(Permission.objects.filter(codename="change_race"))
    answer = get_standings(alice_client)
    assert ranks(answer) == [("eve", 1), ("bob", 2)]
    assert answer.json()["hidden"] == 0
    assert ranks(get_standings(client)) == [("bob", 1)]


def test_an_entry_that_was_not_accepted_is_not_shown_and_not_ranked(
    client: Client, charlie: User
) -> None:
    race = make_race()
    entry = make_entry(race, "bob", "1", pace=0.3, accepted=False)
    make_entry(race, "cleo", "2", pace=0.4)
    Runner.objects.filter(pk=entry.runner_id).update(account=charlie)
    answer = get_standings(client)
    assert ranks(answer) == [("cleo", 1)]
    assert answer.json()["states"] == {"started": 1}
    entry.accepted = True
    entry.save()
    assert ranks(get_standings(client)) == [("bob", 1), ("cleo", 2)]


def test_winners_stay_until_the_race_ends(client: Client) -> None:
    start = timezone.now() - timedelta(hours=3)
    race = make_race(start=start)
    make_entry(race, "ann", "1", pace=0.2)
    make_entry(race, "bob", "2", pace=0.25, visibility=Visibility.PUBLIC)
    # Their race windows closed an hour after they finished.
    assert client.get("/runners/ann/").status_code == 404
    assert ranks(get_standings(client)) == [("ann", 1), ("bob", 2)]
    race.ends = timezone.now() - timedelta(seconds=1)
    race.save()
    assert ranks(get_standings(client)) == [("bob", 1)]
    assert "<h1>Results</h1>" in page(client)


def test_a_blocked_user_does_not_find_the_runner(
    client: Client, charlie: User, charlie_client: Client
) -> None:
    entry = make_entry(make_race(), "bob", "1", pace=0.2, visibility=Visibility.PUBLIC)
    make_follow(charlie, entry.runner, Follow.Status.BLOCKED)
    assert ranks(get_standings(charlie_client)) == []
    assert ranks(get_standings(client)) == [("bob", 1)]


def test_an_unlisted_race_is_unknown_without_its_link(client: Client) -> None:
    race = make_race(visibility=Race.Visibility.LINK)
    make_entry(race, "bob", "7", pace=0.3)
    for path in ("standings.json", "standings.csv", "standings/", "runners/7/"):
        assert client.get(f"/races/ten/{path}").status_code == 404
        assert client.get(f"/races/no/{path}").status_code == 404
    _, token = make_link(race=race)
    assert ranks(get_standings(client, **{"Spectate-Share": token})) == [("bob", 1)]


def test_an_unlisted_race_has_standings_below_its_link(client: Client) -> None:
    race = make_race(visibility=Race.Visibility.LINK)
    make_entry(race, "bob", "7/b", pace=0.3)
    link, token = make_link(race=race)
    here = f"/s/{token}/"

    response = client.get(f"{here}standings/")
    assert (response.status_code, response["Referrer-Policy"]) == (200, "no-referrer")
    assert "no-store" in response["Cache-Control"]
    assert "noindex" in response["X-Robots-Tag"]
    html = response.content.decode()
    assert f'href="{here}runners/7/b/"' in html and "/races/ten/" not in html
    entry = client.get(f"{here}runners/7/b/").content.decode()
    assert f'href="{here}standings/"' in entry and "/runners/bob/" not in entry
    assert b"Bob" in client.get(f"{here}standings.csv").content
    assert f'href="{here}standings/"' in client.get(here).content.decode()

    link.revoke()
    assert client.get(f"{here}standings/")["Location"] == here


def test_a_pin_is_required_for_the_standings_too(client: Client) -> None:
    race = make_race(visibility=Race.Visibility.LINK)
    make_entry(race, "bob", "7", pace=0.3)
    _, token = make_link(race=race, pin="1234")
    here = f"/s/{token}/"

    assert client.get(f"{here}standings/")["Location"] == here
    client.post(here, {"pin": "4321"})
    assert client.get(f"{here}standings/")["Location"] == here
    client.post(here, {"pin": "1234"})
    assert b"Bob" in client.get(f"{here}standings/").content
    ShareLink.objects.update(pin="another")
    assert client.get(f"{here}standings/")["Location"] == here


def test_a_link_to_a_runner_has_no_standings(client: Client) -> None:
    bob = make_entry(make_race(), "bob", "7", pace=0.3).runner
    _, token = make_link(bob)
    assert client.get(f"/s/{token}/standings/").status_code == 404


def test_rights_are_checked_for_each_request(client: Client) -> None:
    make_entry(make_race(), "bob", "7", pace=0.3)
    assert ranks(get_standings(client)) == [("bob", 1)]
    Runner.objects.update(visibility=Visibility.PRIVATE)
    # The cache is shared, and hidden rows are filtered for each viewer.
    answer = client.get("/races/ten/standings.json")
    assert ranks(answer) == []


def table(client: Client, query: str = "") -> list[list[str]]:
    listing.forget_kept()
    answer = client.get(f"/races/ten/standings.csv{query}")
    assert answer["Content-Type"].startswith("text/csv")
    assert 'filename="ten.csv"' in answer["Content-Disposition"]
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


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


def test_the_table_has_times_and_splits(client: Client) -> None:
    make_field(make_race())
    head, ann, *others = table(client)
    assert head[:5] == ["rank", "category rank", "wave rank", "bib", "name"]
    assert head[-4:] == ["2.5 km", "5 km", "7.5 km", "Finish"]
    assert ann[3:5] == ["1", "Ann"]
    assert ann[7:10] == ["finished", "33:20", "33:20"]
    assert ann[-4:] == ["8:20", "16:40", "25:00", "33:20"]
    assert len(others) == 4
    assert [row[4] for row in table(client, "?category=W")[1:]] == ["Ann", "Cleo"]


def test_no_cell_is_a_formula(client: Client) -> None:
    race = make_race()
    for n, start in enumerate(("=", "+", "-", "@", "\t=", "\r=")):
        nasty = f"{start}cmd|'/C calc'!A1"
        entry = make_entry(race, f"r{n}", f"{start}{n}", category=nasty)
        Runner.objects.filter(pk=entry.runner_id).update(name=nasty)
    Checkpoint.objects.filter(name="5 km").update(name="=1+1")
    rows = table(client)
    assert len(rows) == 7
    for row in rows:
        assert not any(re.match(r"[=+\-@\t\r]", cell) for cell in row)


def test_the_page_lists_runners_without_a_script(client: Client) -> None:
    make_field(make_race())
    html = page(client)
    assert "<h1>Standings</h1>" in html
    assert re.findall(r'data-runner="(\w+)"', html) == [
        "ann",
        "bob",
        "cleo",
        "eli",
        "dan",
    ]
    assert "33:20" in html
    assert "+2:40" in html
    assert "7.5 km in 37:30" in html
    assert "<script>" not in html
    # Ranks are those within the group.
    women = page(client, "?category=W")
    assert re.findall(r'class="nth" role="cell">(\d*)<', women) == ["1", "2"]


def test_nobody_runs_once_the_race_is_over(client: Client) -> None:
    race = make_race(start=timezone.now() - timedelta(hours=5))
    make_entry(race, "cleo", "3", pace=3.0, visibility=Visibility.PUBLIC)
    text = page(client)
    assert "not finished" in text and "Not finished" in text
    assert "running" not in text


def test_the_page_has_parts_of_a_hundred(client: Client) -> None:
    race = make_race()
    for n in range(5):
        make_entry(race, f"r{n}", str(n), pace=0.3)
    first = page(client, "?rows=2&q=r")
    assert "1 to 2 of 5" in first
    assert 'href="/races/ten/standings/?rows=2&amp;q=r&amp;from=3"' in first
    last = page(client, "?rows=2&q=r&from=5")
    assert 'href="/races/ten/standings/?rows=2&amp;q=r&amp;from=3"' in last
    assert ">More<" not in last


def test_the_page_escapes_user_input(client: Client) -> None:
    entry = make_entry(make_race(), "bob", "7/<b>", pace=0.3)
    Runner.objects.filter(pk=entry.runner_id).update(name="<img src=x>")
    html = page(client, "?q=%3Cimg")
    assert "<img" not in html
    assert "&lt;img src=x&gt;" in html
    (link,) = re.findall(r'href="(/races/ten/runners/[^"]*)"', html)
    assert client.get(link).status_code == 200


def test_an_empty_page_has_a_reason(client: Client) -> None:
    race = make_race(start=timezone.now() + timedelta(hours=3), timezone="Asia/Tokyo")
    assert "Nobody is entered yet" in page(client)
    make_entry(race, "bob", "7")
    assert "shown from one hour before the start" in page(client)
    assert "(Tokyo time)" in page(client)
    assert "Nobody matches" in page(client, "?q=zz")
    Race.objects.update(
        start=timezone.now() - timedelta(hours=9),
        ends=timezone.now() - timedelta(hours=1),
    )
    assert "The race is over" in page(client)


def test_the_start_is_shown_in_the_races_time_zone(client: Client) -> None:
    start = timezone.now().replace(hour=3, minute=30) + timedelta(days=2)
    make_race(start=start, timezone="Asia/Tokyo")
    assert "12:30 (Tokyo time)" in page(client)


def test_an_unchanged_part_of_the_page_is_not_sent_again(client: Client) -> None:
    race = make_race()
    make_entry(race, "ann", "1", pace=0.2)
    first = client.get("/races/ten/standings/?part=1")
    assert "<html" not in first.content.decode()
    again = {"If-None-Match": first["ETag"]}
    assert client.get("/races/ten/standings/?part=1", headers=again).status_code == 304
    Runner.objects.update(name="Anna")
    listing.forget_kept()
    assert client.get("/races/ten/standings/?part=1", headers=again).status_code == 200


def test_an_entry_has_its_splits(client: Client) -> None:
    make_field(make_race())
    html = client.get("/races/ten/runners/2/").content.decode()
    assert "<h1>Bob</h1>" in html
    assert "36:00" in html
    assert "35:00" in html
    assert "3:30 /km" in html
    assert client.get("/races/ten/runners/99/").status_code == 404
