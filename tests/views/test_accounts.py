from __future__ import annotations

from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.test import Client

from tests.views.conftest import PASSWORD


def test_sign_up_creates_an_account_and_signs_in(client: Client, db: None) -> None:
    response = client.post(
        "/sign-up/?next=/races/half/",
        {"username": "alice", "password1": PASSWORD, "password2": PASSWORD},
    )
    assert response.headers["Location"] == "/races/half/"
    assert get_user(client) == User.objects.get(username="alice")


def test_sign_up_shows_errors(client: Client, alice: User) -> None:
    response = client.post(
        "/sign-up/", {"username": "alice", "password1": "12345", "password2": "123456"}
    )
    assert response.status_code == 200
    html = response.content.decode()
    assert "already exists" in html
    assert 'role="alert"' in html
    assert User.objects.count() == 1


def test_sign_up_does_not_redirect_to_a_different_host(
    client: Client, db: None
) -> None:
    response = client.post(
        "/sign-up/?next=https://elsewhere.example/",
        {"username": "alice", "password1": PASSWORD, "password2": PASSWORD},
    )
    assert response.headers["Location"] == "/"


def test_sign_in_redirects_to_the_requested_page(client: Client, alice: User) -> None:
    page = client.get("/sign-in/?next=/races/half/").content.decode()
    assert 'name="next" value="/races/half/"' in page
    response = client.post(
        "/sign-in/", {"username": "alice", "password": PASSWORD, "next": "/races/half/"}
    )
    assert response.headers["Location"] == "/races/half/"
    assert get_user(client) == alice


def test_sign_in_refuses_a_wrong_password(client: Client, alice: User) -> None:
    response = client.post("/sign-in/", {"username": "alice", "password": "wrong"})
    assert response.status_code == 200
    assert 'role="alert"' in response.content.decode()
    assert not get_user(client).is_authenticated


def test_sign_out_needs_a_post(alice_client: Client) -> None:
    assert alice_client.get("/sign-out/").status_code == 405
    response = alice_client.post("/sign-out/")
    assert response.headers["Location"] == "/"
    assert not get_user(alice_client).is_authenticated


def test_pages_show_the_signed_in_user(alice_client: Client) -> None:
    html = alice_client.get("/").content.decode()
    assert "alice" in html
    assert "Sign out" in html
