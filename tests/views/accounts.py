"""What the tests of accounts do on the pages: sign in, and read codes and links."""

from __future__ import annotations

import re
from typing import Any

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.contrib.auth.models import User
from django.test import Client

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
