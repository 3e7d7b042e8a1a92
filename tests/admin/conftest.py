from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from runners.models import Entry, Race, Runner
from runners.races.course import Course
from runners.races.demo import demo_points
from runners.races.setup import race_create
from tests.admin.role_scene import Scene, make_scene
from tests.factories.positions import make_latest


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
