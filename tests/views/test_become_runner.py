from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client

from runners.models import Runner


def test_becoming_a_runner_needs_an_account(client: Client, db: None) -> None:
    response = client.get("/me/new/")
    assert response.headers["Location"] == "/sign-in/?next=/me/new/"


def test_live_page_offers_to_run_oneself(
    alice_client: Client, bob_client: Client
) -> None:
    assert "Run yourself" in alice_client.get("/").content.decode()
    assert "My page" in bob_client.get("/").content.decode()


def test_becoming_a_runner_takes_a_name_a_code_and_a_visibility(
    alice: User, alice_client: Client
) -> None:
    response = alice_client.post(
        "/me/new/", {"name": "Alice", "code": "al-1", "visibility": "followers"}
    )
    assert response.headers["Location"] == "/me/"
    runner = Runner.objects.get(code="al-1")
    assert (runner.account, runner.name) == (alice, "Alice")
    assert runner.visibility == Runner.Visibility.FOLLOWERS


def test_code_is_made_from_the_name_and_free(
    alice: User, alice_client: Client, bob: Runner
) -> None:
    alice_client.post("/me/new/", {"name": "Bob", "visibility": "public"})
    assert Runner.objects.get(account=alice).code == "bob-2"


def test_code_can_be_made_from_a_name_without_latin_letters(
    alice: User, alice_client: Client
) -> None:
    alice_client.post("/me/new/", {"name": "Мария", "visibility": "public"})
    assert Runner.objects.get(account=alice).code == "runner"


def test_code_that_is_taken_or_bad_is_said_so(
    alice_client: Client, bob: Runner
) -> None:
    for code, words in (("bob", "This code is taken."), ("no good", "Use 1 to 40")):
        html = alice_client.post(
            "/me/new/", {"name": "Alice", "code": code, "visibility": "public"}
        ).content.decode()
        assert words in html
        assert 'role="alert"' in html
    assert Runner.objects.count() == 1


def test_race_visibility_is_for_start_lists_to_give(alice_client: Client) -> None:
    alice_client.post("/me/new/", {"name": "Alice", "visibility": "race"})
    assert not Runner.objects.exists()


def test_account_has_one_runner_at_most(bob_client: Client) -> None:
    response = bob_client.post("/me/new/", {"name": "More", "visibility": "public"})
    assert response.headers["Location"] == "/me/"
    assert Runner.objects.count() == 1
