"""An organiser, their system, and a race of theirs."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User

from runners.views import throttle
from tests.api.documents import Document
from tests.api.organisers.system import GPX, RACE, System, make_key
from tests.factories.people import make_user


@pytest.fixture(autouse=True)
def answer_wrong_keys_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle.failures, "first_wait_s", 0.0)


@pytest.fixture
def organiser(db: None) -> User:
    """An account of the race office without administrator rights."""
    user = make_user("organiser")
    user.is_staff = True
    user.save()
    names = ["add_race", "change_race", "view_race", "add_runnertoken", "add_apikey"]
    names += ["change_apikey", "view_apikey"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


@pytest.fixture
def system(organiser: User, organisers_api: Document) -> System:
    return System(organisers_api, make_key(organiser)[1])


@pytest.fixture
def race(system: System) -> str:
    """A race with a course; its path."""
    path = "/races/spring"
    system.send("PUT", path, RACE)
    system.send("PUT", f"{path}/course.gpx", GPX)
    return path
