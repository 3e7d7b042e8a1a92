from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth import get_user
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core.cache.backends.locmem import LocMemCache
from django.test import AsyncClient, Client
from pytest_django import Settings
from redis.exceptions import ConnectionError

from runners.models import Runner, RunnerToken
from tests.views.accounts import (
    NEW_PASSWORD,
    PASSWORDS,
    add_app,
    code_of,
    sign_in,
)
from tests.views.conftest import PASSWORD


def test_sign_in_redirects_to_the_requested_page(client: Client, alice: User) -> None:
    page = client.get("/sign-in/?next=/races/half/").content.decode()
    assert 'name="next" value="/races/half/"' in page
    assert sign_in(client, next="/races/half/").headers["Location"] == "/races/half/"
    assert get_user(client) == alice


def test_sign_in_refuses_a_wrong_password(client: Client, alice: User) -> None:
    response = sign_in(client, "wrong")
    assert response.status_code == 200
    assert 'role="alert"' in response.content.decode()
    assert not get_user(client).is_authenticated


@pytest.mark.django_db(transaction=True)
async def test_of_parallel_guesses_only_as_many_as_allowed_are_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await User.objects.acreate_user("alice", password=PASSWORD)
    checked: list[str] = []
    verify = PBKDF2PasswordHasher.verify

    def verify_and_count(self: Any, password: str, encoded: str) -> bool:
        checked.append(password)
        return verify(self, password, encoded)

    monkeypatch.setattr(PBKDF2PasswordHasher, "verify", verify_and_count)

    async def guess(number: int) -> None:
        fields = {"username": "ALICE", "password": f"guess {number}"}
        await AsyncClient().post("/sign-in/", fields)

    await asyncio.gather(*(guess(number) for number in range(30)))
    assert 1 <= len(checked) <= 10
    fields = {"username": "alice", "password": PASSWORD}
    assert (await AsyncClient().post("/sign-in/", fields)).status_code == 200


def test_guesses_from_one_network_do_not_lock_an_account(
    alice: User, settings: Settings
) -> None:
    limits = {"login_failed": "3/5m/key", "login_failed_anywhere": "5/5m/key"}
    settings.ACCOUNT_RATE_LIMITS = settings.ACCOUNT_RATE_LIMITS | limits

    def signs_in(address: str, password: str = PASSWORD) -> bool:
        fields = {"username": "alice", "password": password}
        client = Client(REMOTE_ADDR=address)
        return client.post("/sign-in/", fields).status_code == 302

    for _ in range(3):
        assert not signs_in("2001:db8::1", "guess")
    assert not signs_in("2001:db8::2")
    for _ in range(2):
        assert signs_in("2001:db8:0:1::1")
        assert not signs_in("2001:db8:0:2::1", "guess")
    # Guesses from many networks lock it. What is refused then is no wrong password.
    for _ in range(4):
        assert not signs_in("2001:db8:0:1::1")
    settings.ACCOUNT_RATE_LIMITS |= {"login_failed_anywhere": "50/5m/key"}
    assert signs_in("2001:db8:0:1::1")


def test_sign_in_answers_503_while_redis_is_unavailable(
    client: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*args: Any, **kwargs: Any) -> bool:
        raise ConnectionError("Redis does not answer")

    monkeypatch.setattr(LocMemCache, "add", add)
    response = sign_in(client)
    assert response.status_code == 503
    assert "Try again in a minute" in response.text


def test_sign_out_needs_a_post(alice_client: Client) -> None:
    assert alice_client.get("/sign-out/").status_code == 405
    response = alice_client.post("/sign-out/")
    assert response.headers["Location"] == "/"
    assert not get_user(alice_client).is_authenticated


def test_pages_show_the_signed_in_user(alice_client: Client) -> None:
    html = alice_client.get("/").content.decode()
    assert "alice" in html
    assert "Sign out" in html


def test_devices_are_listed_and_others_are_signed_out(
    client: Client, alice: User
) -> None:
    other = Client(headers={"User-Agent": "Library computer"})
    sign_in(other)
    sign_in(client)
    page = client.get("/account/sessions/").text
    assert "Library computer" in page and "This device" in page
    confirm = client.post("/account/sessions/").headers["Location"]
    assert get_user(other).is_authenticated
    client.post(confirm, {"password": PASSWORD})
    assert not get_user(other).is_authenticated
    assert get_user(client) == alice
    assert UserSession.objects.count() == 1


def test_security_events_are_logged_without_secrets_and_names(
    client: Client, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="runners")
    secret = add_app(alice)
    sign_in(client, "wrong")
    client.post("/sign-in/", {"username": "evil\nname", "password": "wrong"})
    path = sign_in(client).headers["Location"]
    client.post(path, {"code": "000000"})
    client.post(path, {"code": code_of(secret)})
    client.post("/account/password/", {"oldpassword": PASSWORD, **PASSWORDS})
    token, plain = RunnerToken.objects.issue(
        Runner.objects.create(code="bob", name="Bob"), name="phone"
    )
    token.revoke()
    client.post("/sign-out/")
    assert [record.getMessage() for record in caplog.records] == [
        f"127.0.0.1 gave a wrong password for account {alice.pk}",
        "127.0.0.1 gave a wrong password for an unknown account",
        f"127.0.0.1 totp: gave a wrong second factor for account {alice.pk}",
        f"127.0.0.1 signed in to account {alice.pk}",
        f"127.0.0.1 changed the password of account {alice.pk}",
        f"Token {token.pk} of runner {token.runner_id} was issued",
        f"Token {token.pk} of runner {token.runner_id} was revoked",
        f"127.0.0.1 signed out of account {alice.pk}",
    ]
    for text in ("alice", "evil", secret, plain, PASSWORD, NEW_PASSWORD):
        assert text not in caplog.text.replace("test_accounts", "")


@pytest.mark.parametrize(
    "page", ["security/", "password/", "mail/", "sessions/", "security/webauthn/add/"]
)
def test_account_pages_need_a_sign_in_and_run_no_inline_script(
    page: str, client: Client, alice: User
) -> None:
    assert "/sign-in/" in client.get(f"/account/{page}").headers["Location"]
    sign_in(client)
    html = client.get(f"/account/{page}", follow=True).text
    for attributes in re.findall(r"<script\b([^>]*)>", html):
        assert "src=" in attributes or 'type="application/json"' in attributes
