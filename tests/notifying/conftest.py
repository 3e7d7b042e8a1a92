"""Alice follows, Bob runs, Charlie has no access."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from runners.models import Checkpoint, Entry, Race, Runner, Subscription
from runners.models.news import Kind
from runners.notifying.notifier import Notifier
from tests.factories.people import signed_in
from tests.factories.races import make_bare_race
from tests.notifying.news import NotifiedRace, alert
from tests.notifying.push import Browser, PushService, push_service


@pytest.fixture(scope="module")
def _service() -> Iterator[PushService]:
    with push_service() as service:
        yield service


@pytest.fixture
def service(_service: PushService, settings: Settings) -> PushService:
    """A local push service, at a private address."""
    settings.SPECTATE_PUSH_LOCAL = True
    _service.clear()
    return _service


@pytest.fixture
def browser(service: PushService) -> Browser:
    """The browser of a follower."""
    return service.browser()


@pytest.fixture
def subscription(db: None, browser: Browser) -> Subscription:
    """The subscription of a browser without an account."""
    return browser.subscribe()


@pytest.fixture
def notifier() -> Notifier:
    return Notifier()


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", email="alice@example.org")


@pytest.fixture
def bob(db: None) -> Runner:
    return Runner.objects.create(code="bob", name="Bob")


@pytest.fixture
def race(db: None) -> Race:
    start = timezone.now() - timedelta(hours=1)
    named = {"name": "Riverside Half", "timezone": "Europe/Dublin"}
    return make_bare_race("half", start, hours=6, **named)


@pytest.fixture
def entry(race: Race, bob: Runner) -> Entry:
    return Entry.objects.create(
        race=race,
        runner=bob,
        bib="17",
        status=Entry.Status.STARTED,
        started_at=race.start + timedelta(seconds=30),
    )


@pytest.fixture
def ten(race: Race) -> Checkpoint:
    return Checkpoint.objects.create(race=race, name="10 km", distance=10_000)


@pytest.fixture
def alerted(subscription: Subscription, entry: Entry) -> Subscription:
    """The subscription, to Bob's checkpoints."""
    alert(subscription, entry.runner, Kind.CHECKPOINT)
    return subscription


@pytest.fixture
def notified(
    entry: Entry, ten: Checkpoint, notifier: Notifier, service: PushService
) -> NotifiedRace:
    return NotifiedRace(entry, ten, notifier, service)


@pytest.fixture
def bobs(bob: Runner, alice: User) -> Client:
    bob.account = User.objects.create_user("bobs-account")
    bob.save()
    bob.followers.create(user=alice, status="accepted")
    return signed_in(bob.account)
