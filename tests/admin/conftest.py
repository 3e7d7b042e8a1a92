from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from runners.models import Entry, LatestPosition, Race, Runner
from runners.races.course import Course
from runners.races.demo import demo_points
from runners.races.setup import race_create
from tests.admin.role_scene import Scene, make_scene


@pytest.fixture
def office(client: Client) -> Client:
    """A client that is signed in to the race office, with all permissions."""
    user = User.objects.create(username="office", is_staff=True, is_superuser=True)
    client.force_login(user)
    return client


@pytest.fixture
def bob() -> Runner:
    return Runner.objects.create(code="17", name="Bob")


@pytest.fixture
def park() -> Race:
    return race_create(
        slug="park",
        name="Park loop",
        course=Course(demo_points()),
        start=timezone.now(),
    )


def make_latest(
    runner: Runner, *, seconds_ago: float, **more: object
) -> LatestPosition:
    """Store a latest position of this age."""
    moment = timezone.now() - timedelta(seconds=seconds_ago)
    values: dict[str, object] = {
        "recorded_at": moment,
        "contact_at": moment,
        "lat": 53.3566,
        "lng": -6.3285,
        "battery": 81.6,
        "source": "owntracks",
    }
    return LatestPosition.objects.create(runner=runner, **(values | more))


def enter_runners(race: Race, size: int) -> None:
    """Enter runners, of whom every second one has a latest position."""
    first = Entry.objects.count()
    for number in range(first, first + size):
        runner = Runner.objects.create(code=f"r{number}", name=f"Runner {number}")
        Entry.objects.create(race=race, runner=runner, bib=str(number))
        if number % 2:
            make_latest(runner, seconds_ago=number)


@pytest.fixture
def scene() -> Scene:
    return make_scene()
