"""Alice follows, Bob runs, Charlie has no access."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from runners.models import Runner
from runners.views import topic_data
from runners.views.races import listing
from tests.factories.people import signed_in

PASSWORD = "a long walk by the river"


@pytest.fixture(autouse=True)
def clear_caches() -> None:
    """Clear the rows that are cached for a second: each test has its own rows."""
    topic_data.topics.clear()
    listing.forget_kept()


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password=PASSWORD)


@pytest.fixture
def charlie(db: None) -> User:
    return User.objects.create_user("charlie", password=PASSWORD)


@pytest.fixture
def alice_client(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def charlie_client(charlie: User) -> Client:
    return signed_in(charlie)


@pytest.fixture
def bob(db: None) -> Runner:
    return Runner.objects.create(code="bob", name="Bob")


@pytest.fixture
def bobs_account(db: None) -> User:
    return User.objects.create_user("bobs-account", password=PASSWORD)


@pytest.fixture
def bob_client(bobs_account: User, bob: Runner) -> Client:
    """The client of Bob, who runs, signed in."""
    bob.account = bobs_account
    bob.save()
    return signed_in(bobs_account)


@pytest.fixture
def runner_charlie(charlie: User) -> Runner:
    """Charlie as a runner, which gives no access to Bob's data."""
    return Runner.objects.create(code="charlie", name="Charlie", account=charlie)
