from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from runners.models import Follow, Runner
from runners.preferences.following import FollowAnswer, follow_answer, follow_statuses
from runners.preferences.runner_settings import visibility_set
from runners.rights.access import visible_runners

Status = Follow.Status
Visibility = Runner.Visibility


def test_a_follow_of_a_public_runner_needs_no_answer(
    alice: User, alice_client: Client, bob: Runner
) -> None:
    response = alice_client.post("/runners/bob/follow/")
    assert response.json() == {"status": "accepted"}
    assert Follow.objects.get().user == alice
    assert follow_statuses(user=alice) == {"bob": "accepted"}


def test_a_follow_of_a_formerly_public_runner_is_pending(
    alice: User, alice_client: Client, charlie: User, bob: Runner
) -> None:
    """A stranger's follow must not outlive public visibility."""
    alice_client.post("/runners/bob/follow/")
    # Charlie was accepted while Bob was public.
    followed = Follow.objects.create(user=charlie, runner=bob)
    follow_answer(follow=followed, answer=FollowAnswer.ACCEPT)

    visibility_set(runner=bob, visibility=Visibility.FOLLOWERS)

    assert follow_statuses(user=alice) == {"bob": "pending"}
    assert not visible_runners(alice.pk).exists()
    assert visible_runners(charlie.pk).get() == bob
    follow_answer(follow=alice.follows.get(), answer=FollowAnswer.ACCEPT)
    assert visible_runners(alice.pk).get() == bob


def test_a_follow_of_a_followers_runner_is_pending(
    alice_client: Client, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.FOLLOWERS)
    assert alice_client.post("/runners/bob/follow/").json() == {"status": "pending"}


def test_a_repeated_follow_is_one_follow(alice_client: Client, bob: Runner) -> None:
    alice_client.post("/runners/bob/follow/")
    assert alice_client.post("/runners/bob/follow/").json() == {"status": "accepted"}
    assert Follow.objects.count() == 1


def test_a_follow_of_a_private_runner_is_not_found(
    charlie_client: Client, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.PRIVATE)
    assert charlie_client.post("/runners/bob/follow/").status_code == 404
    assert charlie_client.post("/runners/nobody/follow/").status_code == 404
    assert not Follow.objects.exists()


def test_a_follow_does_not_undo_a_refusal(
    charlie: User, charlie_client: Client, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.FOLLOWERS)
    Follow.objects.create(user=charlie, runner=bob, status=Status.REFUSED)
    charlie_client.post("/runners/bob/unfollow/")
    response = charlie_client.post("/runners/bob/follow/")
    assert response.json() == {"status": "refused"}


def test_a_follow_of_a_runner_who_blocked_the_user_is_not_found(
    alice: User, charlie: User, charlie_client: Client, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.FOLLOWERS)
    Follow.objects.create(user=charlie, runner=bob, status=Status.BLOCKED)
    Follow.objects.create(user=alice, runner=bob, status=Status.ACCEPTED)
    assert charlie_client.post("/runners/bob/follow/").status_code == 404


def test_unfollow_deletes_the_follow(alice_client: Client, bob: Runner) -> None:
    alice_client.post("/runners/bob/follow/")
    assert alice_client.post("/runners/bob/unfollow/").json() == {"status": None}
    assert not Follow.objects.exists()


def test_unfollow_keeps_the_follows_of_others(
    alice: User, charlie_client: Client, bob: Runner
) -> None:
    Follow.objects.create(user=alice, runner=bob, status=Status.ACCEPTED)
    charlie_client.post("/runners/bob/unfollow/")
    assert Follow.objects.get().user == alice


def test_a_hidden_runner_can_be_unfollowed(
    alice: User, alice_client: Client, bob: Runner
) -> None:
    Follow.objects.create(user=alice, runner=bob, status=Status.ACCEPTED)
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.PRIVATE)
    assert alice_client.post("/runners/bob/unfollow/").status_code == 200
    assert not Follow.objects.exists()


@pytest.mark.parametrize("action", ["follow", "unfollow"])
def test_following_needs_an_account(client: Client, bob: Runner, action: str) -> None:
    response = client.post(f"/runners/bob/{action}/")
    assert response.status_code == 403
    assert response.json()["error"] == "account.required"


@pytest.mark.parametrize("action", ["follow", "unfollow"])
def test_following_needs_a_post(alice_client: Client, bob: Runner, action: str) -> None:
    assert alice_client.get(f"/runners/bob/{action}/").status_code == 405


@pytest.mark.parametrize("action", ["follow", "unfollow"])
def test_following_needs_a_csrf_token(alice: User, bob: Runner, action: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(f"/runners/bob/{action}/").status_code == 403
    assert not Follow.objects.exists()
