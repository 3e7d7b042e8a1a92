from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from runners.models import Entry, LatestPosition, Race, Runner
from runners.views.races import listing
from tests.races.field import make_entry, make_field, make_race
from tests.views.standings import get_standings, page

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

Visibility = Runner.Visibility


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
