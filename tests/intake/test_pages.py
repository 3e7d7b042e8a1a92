"""The pages for setting up a phone: permissions and contents."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from runners.intake.setup import PHONE_APPS
from runners.models import Phone, Runner, RunnerToken
from runners.models.runner import token_digest
from tests.factories.people import signed_in

PAGE = "/runners/bob/phones/"


@pytest.fixture
def bob(db: None) -> Runner:
    account = User.objects.create_user("bob")
    return Runner.objects.create(code="bob", name="Bob", account=account)


@pytest.fixture
def bob_client(bob: Runner) -> Client:
    return signed_in(User.objects.get(username="bob"))


def test_an_anonymous_visitor_must_sign_in(bob: Runner, client: Client) -> None:
    answer = client.get(PAGE)
    assert (answer.status_code, answer["Location"]) == (302, f"/sign-in/?next={PAGE}")
    token, _plain = RunnerToken.objects.issue(bob, name="phone")
    assert client.get(f"{PAGE}{token.pk}/").status_code == 302


def test_the_page_of_a_different_runner_is_not_found(
    bob: Runner, client: Client
) -> None:
    client.force_login(User.objects.create_user("charlie"))
    token, _plain = RunnerToken.objects.issue(bob, name="phone")
    assert client.get(PAGE).status_code == 404
    assert client.post(PAGE, {"app": "owntracks"}).status_code == 404
    assert client.get(f"{PAGE}{token.pk}/").status_code == 404
    assert RunnerToken.objects.count() == 1


def test_the_race_office_may_set_up_any_phone(bob: Runner, client: Client) -> None:
    client.force_login(User.objects.create_superuser("office"))
    assert client.post(PAGE, {"app": "owntracks"}).status_code == 200
    assert RunnerToken.objects.get().runner == bob


@pytest.mark.parametrize("key", PHONE_APPS)
def test_setup_shows_the_token_once_and_is_not_cached(
    bob_client: Client, key: str
) -> None:
    answer = bob_client.post(PAGE, {"app": key})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    token = RunnerToken.objects.get()
    assert token.name == PHONE_APPS[key].name
    assert token_digest(plain_of(answer.content.decode())) == token.digest
    assert "<svg" in answer.content.decode()
    assert token.digest not in bob_client.get(PAGE).content.decode()


def plain_of(html: str) -> str:
    """Return the token among the values of the page."""
    return max(
        (
            word
            for line in html.split("<code>")[1:]
            for word in re.split(r"[ /=]", line.split("</code>")[0])
            if len(word) == 43
        ),
        key=len,
    )


def test_an_unknown_app_issues_no_token(bob_client: Client) -> None:
    assert bob_client.post(PAGE, {"app": "nokia"}).status_code == 200
    assert RunnerToken.objects.count() == 0


def test_the_list_of_phones_shows_app_contact_and_refusals(
    bob: Runner, bob_client: Client
) -> None:
    token, _plain = RunnerToken.objects.issue(bob, name="Old phone")
    Phone.objects.create(
        token=token,
        app="Overland",
        contact_at=timezone.now() - timedelta(hours=2),
        refused=2,
        reasons={"position.future": 2},
        last_reason="The time is 90 s ahead.",
    )
    page = bob_client.get(PAGE).content.decode()
    for text in ("Old phone", "Overland, seen 2 h ago", "2 refused", "90 s ahead"):
        assert text in page
    test = bob_client.get(f"{PAGE}{token.pk}/?part=1").content.decode()
    assert "<html" not in test
    assert 'data-state="problem"' in test


def test_a_phone_of_a_different_runner_is_not_found(
    bob: Runner, bob_client: Client
) -> None:
    alice = Runner.objects.create(code="alice", name="Alice")
    token, _plain = RunnerToken.objects.issue(alice, name="phone")
    assert bob_client.get(f"{PAGE}{token.pk}/").status_code == 404


def test_the_admin_shows_app_and_refusals(bob: Runner, client: Client) -> None:
    client.force_login(User.objects.create_superuser("office"))
    token, _plain = RunnerToken.objects.issue(bob, name="phone")
    Phone.objects.create(
        token=token,
        app="Traccar Client 9",
        contact_at=timezone.now(),
        refused=2,
        reasons={"position.invalid": 2},
        last_reason="lat must be a number from -90 to 90 degrees.",
        refused_at=timezone.now(),
    )
    for path in ("", f"{token.pk}/change/"):
        page = client.get(f"/admin/runners/runnertoken/{path}").content.decode()
        for text in ("Traccar Client 9", "position.invalid", "lat must be a number"):
            assert text in page
    page = client.get(f"/admin/runners/runner/{bob.pk}/change/").content.decode()
    assert "Traccar Client 9" in page and PAGE in page
