from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client

from runners.models import Runner


def test_becoming_a_runner_needs_an_account(client: Client, db: None) -> None:
    response = client.get("/me/new/")
    assert response.headers["Location"] == "/sign-in/?next=/me/new/"


def test_the_live_page_offers_to_become_a_runner(
    alice_client: Client, bob_client: Client
) -> None:
    assert "Become a runner" in alice_client.get("/").content.decode()
    assert "My page" in bob_client.get("/").content.decode()


def test_becoming_a_runner_sets_name_code_and_visibility(
    alice: User, alice_client: Client
) -> None:
    response = alice_client.post(
        "/me/new/", {"name": "Alice", "code": "al-1", "visibility": "followers"}
    )
    assert response.headers["Location"] == "/me/"
    runner = Runner.objects.get(code="al-1")
    assert (runner.account, runner.name) == (alice, "Alice")
    assert runner.visibility == Runner.Visibility.FOLLOWERS


def test_a_free_code_is_made_from_the_name(
    alice: User, alice_client: Client, bob: Runner
) -> None:
    alice_client.post("/me/new/", {"name": "Bob", "visibility": "public"})
    assert Runner.objects.get(account=alice).code == "bob-2"


def test_a_code_is_made_from_a_name_without_latin_letters(
    alice: User, alice_client: Client
) -> None:
    alice_client.post("/me/new/", {"name": "Мария", "visibility": "public"})
    assert Runner.objects.get(account=alice).code == "runner"


def test_a_used_or_invalid_code_is_refused(alice_client: Client, bob: Runner) -> None:
    for code, text in (("bob", "This code is taken."), ("no good", "Use 1 to 40")):
        html = alice_client.post(
            "/me/new/", {"name": "Alice", "code": code, "visibility": "public"}
        ).content.decode()
        assert text in html
        assert 'role="alert"' in html
    assert Runner.objects.count() == 1


def test_race_visibility_cannot_be_chosen(alice_client: Client) -> None:
    alice_client.post("/me/new/", {"name": "Alice", "visibility": "race"})
    assert not Runner.objects.exists()


def test_an_account_has_at_most_one_runner(bob_client: Client) -> None:
    response = bob_client.post("/me/new/", {"name": "More", "visibility": "public"})
    assert response.headers["Location"] == "/me/"
    assert Runner.objects.count() == 1
