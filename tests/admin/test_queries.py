"""Pages of the admin make no queries per row."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runners.models import (
    Chip,
    Entry,
    Follow,
    Passing,
    Race,
    Runner,
    RunnerToken,
    Split,
    Station,
)
from runners.races.course import Course
from runners.races.setup import race_create
from tests.admin.conftest import enter_runners
from tests.factories.positions import make_position

pytestmark = pytest.mark.django_db


def queries(office: Client, url: str) -> int:
    office.get(url)
    with CaptureQueriesContext(connection) as captured:
        assert office.get(url).status_code == 200
    # A course has thousands of points, and no page here needs it.
    assert not [q for q in captured if '"runners_race"."line"' in q["sql"]]
    return len(captured)


def fill(race: Race, rows: int) -> None:
    """Fill each table up to a number of rows of one race, or of races."""
    enter_runners(race, rows - race.entries.count())
    start = race.checkpoints.get(name="Start")
    for entry in race.entries.filter(splits=None):
        Split.objects.create(entry=entry, checkpoint=start, time=race.start)
        Chip.objects.create(race=race, code=entry.bib, entry=entry)
        station = Station.objects.create(race=race, name=entry.bib)
        station.checkpoints.add(start)
        Passing.objects.create(race=race, station=station, chip="1", time=race.start)
    for runner in Runner.objects.exclude(tokens__name="phone"):
        RunnerToken.objects.issue(runner, name="phone")
        alice = User.objects.create(username=f"alice-{runner.code}")
        Follow.objects.create(user=alice, runner=runner)
        now = timezone.now()
        make_position(runner)
    course = Course([(0, 0), (0, 0.05)])
    bob = Runner.objects.get(code="17")
    for number in range(Race.objects.count(), rows):
        other = race_create(
            slug=f"race-{number}", name=f"Race {number}", course=course, start=now
        )
        Entry.objects.create(race=other, runner=bob, bib="17a")
        RunnerToken.objects.issue(bob, name=f"watch {number}")


PAGES = (
    *("entry/", "follow/", "latestposition/", "position/", "race/", "runner/"),
    *("passing/", "station/", "chip/"),
    *("runnertoken/", "split/", "race/{race}/change/", "runner/{bob}/change/"),
)


def test_pages_need_as_many_queries_for_15_rows_as_for_5(
    office: Client, park: Race, bob: Runner
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="17a")
    urls = ["/admin/runners/" + page.format(race=park.pk, bob=bob.pk) for page in PAGES]
    fill(park, 5)
    few = {url: queries(office, url) for url in urls}
    fill(park, 15)
    assert {url: queries(office, url) for url in urls} == few
    assert max(few.values()) < 20
