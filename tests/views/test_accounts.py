from __future__ import annotations

import asyncio
import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.usersessions.models import UserSession
from django.contrib.auth import get_user
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache.backends.locmem import LocMemCache
from django.test import AsyncClient, Client
from django.utils import timezone
from pytest_django import Settings
from redis.exceptions import ConnectionError

from runners.models import Race, Runner, RunnerToken
from runners.notifying.suppression import MAX_BY_ACCOUNT
from tests.views.conftest import PASSWORD

NEW_PASSWORD = "a short walk along the sea"
PASSWORDS = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}


def sign_in(client: Client, password: str = PASSWORD, **more: Any) -> Any:
    """Sign Alice in by the page; return the response."""
    return client.post("/sign-in/", {"username": "alice", "password": password, **more})


def add_app(user: User) -> str:
    """Give a user an authenticator app; return its secret."""
    secret: str = generate_totp_secret()
    TOTP.activate(user, secret)
    return secret


def code_of(secret: str) -> str:
    """Return what an authenticator app shows now."""
    counter = next(yield_hotp_counters_from_time())
    return str(format_hotp_value(hotp_value(secret, counter)))


def recovery_codes(user: User) -> list[str]:
    return list(RecoveryCodes.activate(user).get_unused_codes())


def links(text: str, prefix: str) -> str:
    """Return the path of a link in a mail."""
    found = re.search(rf"{prefix}(/\S+)", text)
    assert found, text
    return found[1]


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


def test_an_account_with_an_app_needs_its_code_to_sign_in(
    client: Client, alice: User
) -> None:
    secret = add_app(alice)
    path = sign_in(client, next="/me/").headers["Location"]
    assert path == "/account/security/authenticate/"
    assert not get_user(client).is_authenticated
    assert "Incorrect code" in client.post(path, {"code": "000000"}).text
    assert client.post(path, {"code": code_of(secret)})["Location"] == "/me/"
    assert get_user(client) == alice


def test_a_code_of_an_app_works_once(client: Client, alice: User) -> None:
    secret = add_app(alice)
    code = {"code": code_of(secret)}
    for browser, status in ((client, 302), (Client(), 200)):
        path = sign_in(browser).headers["Location"]
        assert browser.post(path, code).status_code == status


def test_a_recovery_code_replaces_the_app_once(client: Client, alice: User) -> None:
    add_app(alice)
    code = {"code": recovery_codes(alice)[0]}
    for browser, status in ((client, 302), (Client(), 200)):
        path = sign_in(browser).headers["Location"]
        assert browser.post(path, code).status_code == status


def test_second_factors_are_stored_encrypted(
    client: Client, alice: User, settings: Settings
) -> None:
    secret, code = add_app(alice), recovery_codes(alice)[0]
    stored = str(list(Authenticator.objects.values("data")))
    assert secret not in stored
    settings.SECRET_KEY = "a different key"
    # No code is right any more, and nothing fails.
    path = sign_in(client).headers["Location"]
    for wrong in (code_of(secret), code):
        assert "Incorrect code" in client.post(path, {"code": wrong}).text


def test_an_app_is_set_up_after_the_password_and_a_code(
    client: Client, alice: User
) -> None:
    sign_in(client)
    path = "/account/security/totp/activate/"
    confirm = client.get(path).headers["Location"]
    assert confirm.startswith("/account/confirm/")
    assert client.post(confirm, {"password": PASSWORD})["Location"] == path
    page = client.get(path).text
    assert "data:image/svg+xml" in page
    secret = re.search(r'value="([A-Z2-7]{32})"', page)
    assert secret
    assert client.post(path, {"code": code_of(secret[1])}).status_code == 302
    assert {a.type for a in Authenticator.objects.filter(user=alice)} == {
        "totp",
        "recovery_codes",
    }


def test_confirming_a_password_whose_hash_is_renewed_keeps_the_session(
    client: Client, alice: User
) -> None:
    alice.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=5)
    alice.save()
    client.force_login(alice)
    client.post("/account/confirm/", {"password": PASSWORD})
    assert get_user(client) == alice


def test_recovery_codes_need_no_second_factor(client: Client, alice: User) -> None:
    sign_in(client)
    path = "/account/security/recovery-codes/generate/"
    client.post(client.get(path)["Location"], {"password": PASSWORD})
    assert client.post(path)["Location"] == "/account/security/recovery-codes/"
    shown = client.get("/account/security/recovery-codes/").text
    assert all(code in shown for code in recovery_codes(alice))
    # Recovery codes alone are not a second factor.
    assert sign_in(Client())["Location"] == "/"


def test_a_recovery_code_resets_a_password_once(client: Client, alice: User) -> None:
    code = recovery_codes(alice)[3]
    path, fields = "/account/password/reset/code/", {"username": "Alice", "code": code}
    page = client.post(path, fields).headers["Location"]
    assert page.endswith("-set-password/")
    assert client.post(page, PASSWORDS).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password(NEW_PASSWORD)
    # Neither the code nor the page works again.
    assert Client().post(path, fields).status_code == 200
    assert "password1" not in Client().get(page).text


@pytest.mark.parametrize("username", ["alice", "nobody"])
def test_guesses_of_recovery_codes_are_limited(
    username: str, client: Client, alice: User
) -> None:
    codes = recovery_codes(alice)
    path = "/account/password/reset/code/"
    for _ in range(5):
        page = client.post(path, {"username": username, "code": "1234567890"})
        assert "do not match" in page.text
    response = client.post(path, {"username": username, "code": codes[0]})
    assert response.status_code == 429


def test_a_mail_resets_the_password(client: Client, alice: User) -> None:
    alice.email = "alice@example.org"
    alice.save()
    client.post("/account/password/reset/", {"email": "alice@example.org"})
    (message,) = mail.outbox
    assert "alice" not in message.subject
    # The link leads to PUBLIC_URL, whatever host the request names.
    path = links(str(message.body), "http://localhost:8080")
    page = client.get(path).headers["Location"]
    assert client.post(page, PASSWORDS).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password(NEW_PASSWORD)


def test_strangers_cannot_use_up_the_mails_that_reset_passwords(
    client: Client, db: None
) -> None:
    for number in range(MAX_BY_ACCOUNT + 1):
        address = f"{number}@example.org"
        User.objects.create_user(f"user{number}", email=address)
        client.post("/account/password/reset/", {"email": address})
    assert len(mail.outbox) == MAX_BY_ACCOUNT + 1


def test_an_address_without_an_account_gets_no_mail(client: Client, db: None) -> None:
    response = client.post("/account/password/reset/", {"email": "eve@example.org"})
    assert response.headers["Location"] == "/account/password/reset/sent/"
    assert mail.outbox == []


def test_a_mail_address_is_confirmed_by_its_owner(client: Client, alice: User) -> None:
    sign_in(client)
    fields = {"email": "alice@example.org", "action_add": ""}
    # The password is asked for first, then the form counts.
    confirm = client.post("/account/mail/", fields).headers["Location"]
    assert client.get("/account/mail/").text.count("example.org") == 0
    client.post(confirm, {"password": PASSWORD})
    assert "Not confirmed yet" in client.get("/account/mail/").text
    path = links(str(mail.outbox[0].body), "http://localhost:8080")
    client.post(path)
    assert "In use" in client.get("/account/mail/").text


def test_a_new_password_ends_other_sessions(client: Client, alice: User) -> None:
    other = Client()
    sign_in(other)
    sign_in(client)
    for old in ("", "guess"):
        client.post("/account/password/", {"oldpassword": old, **PASSWORDS})
    assert get_user(other) == alice
    client.post("/account/password/", {"oldpassword": PASSWORD, **PASSWORDS})
    assert get_user(client) == alice
    assert not get_user(other).is_authenticated


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


def test_the_office_is_entered_by_the_same_sign_in(client: Client, alice: User) -> None:
    alice.is_staff = alice.is_superuser = True
    alice.save()
    secret = add_app(alice)
    office = client.get("/admin/", follow=True)
    assert office.redirect_chain[-1][0].startswith("/sign-in/?next=")
    fields = {"username": "alice", "password": PASSWORD}
    client.post("/admin/login/?next=/admin/", fields)
    assert not get_user(client).is_authenticated
    path = sign_in(client, next="/admin/").headers["Location"]
    assert client.post(path, {"code": code_of(secret)})["Location"] == "/admin/"
    assert "A password alone" not in client.get("/admin/").text
    password = client.get("/admin/password_change/").headers["Location"]
    assert password == "/account/password/"


def test_the_office_asks_staff_for_a_second_factor(client: Client, alice: User) -> None:
    alice.is_staff = True
    alice.save()
    client.force_login(alice)
    assert "A password alone" in client.get("/admin/").text


def test_the_office_can_delete_a_second_factor_and_not_read_it(
    client: Client, alice: User
) -> None:
    secret = add_app(alice)
    factor = Authenticator.objects.get()
    client.force_login(User.objects.create_superuser("office"))
    path = f"/admin/mfa/authenticator/{factor.pk}"
    page = client.get(f"{path}/change/").text
    assert "alice" in page and secret not in page
    client.post(f"{path}/delete/", {"post": "yes"})
    assert not Authenticator.objects.exists()


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
