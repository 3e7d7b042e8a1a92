from __future__ import annotations

import pytest
from django.contrib.auth import get_user
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from runners.notifying.suppression import MAX_BY_ACCOUNT
from tests.views.accounts import NEW_PASSWORD, PASSWORDS, links, recovery_codes, sign_in
from tests.views.conftest import PASSWORD


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


def test_confirming_a_password_whose_hash_is_renewed_keeps_the_session(
    client: Client, alice: User
) -> None:
    alice.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=5)
    alice.save()
    client.force_login(alice)
    client.post("/account/confirm/", {"password": PASSWORD})
    assert get_user(client) == alice
