from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from runners.models import Follow, Race, Runner, ShareLink
from tests.factories.people import make_follow, make_link
from tests.races.field import make_entry, make_field, make_race
from tests.views.standings import get_standings, page, ranks

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

Visibility = Runner.Visibility


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
