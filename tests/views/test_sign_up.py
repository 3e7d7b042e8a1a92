from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from runners.models import Race
from tests.views.accounts import PASSWORDS
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


@pytest.mark.parametrize(
    ("password", "is_refused"),
    [
        ("Riverside-Half-2026", True),
        ("spectate-1234", True),
        ("half a litre of milk", False),
        (PASSWORD, False),
    ],
)
def test_a_password_is_not_the_name_of_a_race_or_of_the_server(
    password: str, is_refused: bool, client: Client, db: None
) -> None:
    now = timezone.now()
    ends = now + timedelta(hours=3)
    Race.objects.create(slug="half", name="Riverside Half", start=now, ends=ends)
    fields = {"username": "alice", "password1": password, "password2": password}
    response = client.post("/sign-up/", fields)
    assert ("made of the name" in response.text) == is_refused
    assert User.objects.exists() != is_refused


def test_sign_ups_from_one_address_are_limited(db: None) -> None:
    def sign_up(number: int) -> int:
        fields = {"username": f"user{number}", **PASSWORDS}
        return int(Client().post("/sign-up/", fields).status_code)

    assert [sign_up(number) for number in range(21)] == [*[302] * 20, 429]
