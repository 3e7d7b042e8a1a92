"""Cookies, methods and passwords: defaults of Django that nobody must change."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

PASSWORD = "correct horse battery staple"  # noqa: S105

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", password=PASSWORD)


def sign_in(client: Client) -> str:
    """Sign in and return the key of the session."""
    client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    return client.cookies["sessionid"].value


def test_cookies_are_kept_from_scripts_and_other_sites(
    client: Client, alice: User
) -> None:
    client.get("/sign-in/")
    sign_in(client)
    assert {c["samesite"] for c in client.cookies.values()} == {"Lax"}
    assert client.cookies["sessionid"]["httponly"]
    assert {c["domain"] for c in client.cookies.values()} == {""}


def test_each_sign_in_has_a_new_session(client: Client, alice: User) -> None:
    keys = set()
    for _ in range(2):
        keys.add(sign_in(client))
        client.post("/sign-out/")
    assert len(keys) == 2
    assert all(len(key) == 32 for key in keys)


@pytest.mark.parametrize("password", ["Sh0rt!!", "football1", "8462950173", "aliceXYZ"])
def test_guessable_passwords_are_refused(client: Client, password: str) -> None:
    fields = {"username": "aliceXYZ", "password1": password, "password2": password}
    assert client.post("/sign-up/", fields).status_code == 200
    assert not User.objects.exists()


def test_any_long_password_is_accepted_as_it_is(client: Client) -> None:
    password = " ünïcödé " * 8 + "x" * 100
    fields = {"username": "alice", "password1": password, "password2": password}
    assert client.post("/sign-up/", fields).status_code == 302
    assert User.objects.get().check_password(password)


@pytest.mark.parametrize(
    "path", ["/", "/live.json", "/sign-in/", "/admin/login/", "/s/x/"]
)
def test_a_request_is_not_echoed_to_trace(client: Client, path: str) -> None:
    answer = client.trace(path, headers={"X-Secret": "hunter2"})
    assert b"hunter2" not in answer.content
    assert "hunter2" not in str(answer.headers)
