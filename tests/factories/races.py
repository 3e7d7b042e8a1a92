"""A race with many runners."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from runners.maps.cutting import cut_map
from runners.models import Entry, Race, Runner
from runners.races.demo import demo_points
from runners.simulation.town import ARCHIVE as TOWN
from tests.factories.people import make_runner
from tests.factories.positions import make_latest

HALF_MARATHON_LAPS = 7
WINDING = [
    [
        53.35 + 0.03 * math.sin(n / 160) + 0.004 * math.sin(n / 9),
        -6.3 + 0.05 * math.cos(n / 160),
    ]
    for n in range(1000)
]


def make_bare_race(
    slug: str, start: datetime | None = None, *, hours: float = 3, **fields: Any
) -> Race:
    """Make a race without a course, from a time or now on."""
    start = start or timezone.now()
    row = {"name": slug.title(), "start": start, "ends": start + timedelta(hours=hours)}
    return Race.objects.create(slug=slug, **row | fields)


@transaction.atomic
def make_long_race(size: int, line: list[list[float]] = WINDING) -> list[Runner]:
    """Make a half marathon on a course; return its runners, in a line."""
    now = timezone.now()
    race = Race.objects.create(
        slug="long",
        name="Riverside Half",
        line=line,
        length=21_097,
        start=now - timedelta(hours=1),
        ends=now + timedelta(hours=9),
    )
    runners = [
        make_runner(f"r{n}", f"Runner {n}", visibility="race") for n in range(size)
    ]
    for n, runner in enumerate(runners):
        Entry.objects.create(race=race, runner=runner, bib=str(n + 1))
        lat, lng = line[n]
        make_latest(
            runner, now, lat=lat, lng=lng, speed=3.1, heading=90, progress=21 * n
        )
    return runners


def make_race_on_streets(size: int) -> None:
    """Make a race on the demo's course, with the map of its town."""
    course = [[lat, lng] for lat, lng, _ in demo_points(HALF_MARATHON_LAPS)]
    runners = make_long_race(size, course)
    cut_map(runners[0].entries.get().race, str(TOWN))
