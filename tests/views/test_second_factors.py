from __future__ import annotations

import re

from allauth.mfa.models import Authenticator
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from tests.views.accounts import add_app, code_of, recovery_codes, sign_in
from tests.views.conftest import PASSWORD


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


def test_recovery_codes_need_no_second_factor(client: Client, alice: User) -> None:
    sign_in(client)
    path = "/account/security/recovery-codes/generate/"
    client.post(client.get(path)["Location"], {"password": PASSWORD})
    assert client.post(path)["Location"] == "/account/security/recovery-codes/"
    shown = client.get("/account/security/recovery-codes/").text
    assert all(code in shown for code in recovery_codes(alice))
    # Recovery codes alone are not a second factor.
    assert sign_in(Client())["Location"] == "/"


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
