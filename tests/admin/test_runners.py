from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from runners.models import Position, Runner, RunnerToken
from runners.models.runner import token_digest
from tests.factories.positions import make_position

pytestmark = pytest.mark.django_db


def test_a_code_cannot_be_changed(office: Client, bob: Runner) -> None:
    assert 'name="code"' in office.get("/admin/runners/runner/add/").text
    url = f"/admin/runners/runner/{bob.pk}/change/"
    page = office.get(url)
    assert 'name="code"' not in page.text

    data = {"code": "18", "name": "Robert", "visibility": "private"}
    for prefix in ("entries", "tokens"):
        data |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
    assert office.post(url, data).status_code == 302

    bob.refresh_from_db()
    assert (bob.code, bob.name, bob.visibility) == ("17", "Robert", "private")


def test_a_token_is_shown_exactly_once(office: Client, bob: Runner) -> None:
    change = f"/admin/runners/runner/{bob.pk}/change/"
    url = f"/admin/runners/runner/{bob.pk}/issue-token/"
    assert url in office.get(change).text
    assert "Issue the token" in office.get(url).text
    assert not bob.tokens.exists()

    page = office.post(url, {"name": "Bob's phone"})

    found = re.search(r'id="token">([^<]+)<', page.text)
    assert found
    token = bob.tokens.get()
    assert token.digest == token_digest(found[1])
    assert token.name == "Bob's phone"
    assert "no-store" in page.headers["Cache-Control"]
    assert "ws://localhost:8080/ws/" in page.text
    for later in (change, url, "/admin/runners/runnertoken/"):
        assert found[1] not in office.get(later).text


def test_a_token_needs_a_name(office: Client, bob: Runner) -> None:
    page = office.post(f"/admin/runners/runner/{bob.pk}/issue-token/", {"name": " "})

    assert "This field is required." in page.text
    assert not bob.tokens.exists()


def test_issuing_a_token_needs_the_permission(client: Client, bob: Runner) -> None:
    charlie = User.objects.create(username="charlie", is_staff=True)
    charlie.user_permissions.add(Permission.objects.get(codename="change_runner"))
    client.force_login(charlie)
    url = f"/admin/runners/runner/{bob.pk}/issue-token/"

    assert url not in client.get(f"/admin/runners/runner/{bob.pk}/change/").text
    assert client.post(url, {"name": "mine"}).status_code == 403
    assert not bob.tokens.exists()


@pytest.mark.parametrize("pk", ["999", "x", "9" * 30, "9" * 5000])
def test_a_token_for_an_unknown_runner_is_not_found(office: Client, pk: str) -> None:
    url = f"/admin/runners/runner/{pk}/issue-token/"

    assert office.get(url).status_code == 404


def test_tokens_are_revoked_in_the_list(office: Client, bob: Runner) -> None:
    phone, _ = RunnerToken.objects.issue(bob, name="phone")
    watch, _ = RunnerToken.objects.issue(bob, name="watch")
    old, _ = RunnerToken.objects.issue(bob, name="old")
    old.revoke()
    revoked_at = old.revoked_at

    page = office.post(
        "/admin/runners/runnertoken/",
        {"action": "revoke", "_selected_action": [phone.pk, old.pk]},
        follow=True,
    )

    assert "1 revoked" in page.text
    assert list(bob.tokens.usable()) == [watch]
    old.refresh_from_db()
    assert old.revoked_at == revoked_at


def test_tokens_cannot_be_added_in_the_list(office: Client) -> None:
    assert office.get("/admin/runners/runnertoken/add/").status_code == 403


@pytest.mark.parametrize(
    ("state", "name"), [("usable", "phone"), ("ended", "old phone")]
)
def test_tokens_are_filtered_by_state(
    office: Client, bob: Runner, state: str, name: str
) -> None:
    RunnerToken.objects.issue(bob, name="phone")
    for end in ("revoked_at", "expires_at"):
        old, _ = RunnerToken.objects.issue(bob, name="old phone")
        RunnerToken.objects.filter(pk=old.pk).update(**{end: timezone.now()})

    page = office.get(f"/admin/runners/runnertoken/?state={state}")

    assert {token.name for token in page.context["cl"].queryset} == {name}
    assert ("icon-yes" in page.text, "icon-no" in page.text) == (
        *(state == "usable", state == "ended"),
    )
    runner = office.get(f"/admin/runners/runner/{bob.pk}/change/").text
    assert "old phone" not in runner


def test_a_runner_with_positions_can_be_deleted(office: Client, bob: Runner) -> None:
    make_position(bob)
    url = f"/admin/runners/runner/{bob.pk}/delete/"

    page = office.get(url)

    assert "Positions: 1" in re.sub(r"\s+", " ", page.text)
    assert office.post(url, {"post": "yes"}).status_code == 302
    assert not Runner.objects.exists()
    assert not Position.objects.exists()


def test_a_runner_links_to_the_live_page(office: Client, bob: Runner) -> None:
    assert "/runners/17/" in office.get(f"/admin/runners/runner/{bob.pk}/change/").text
