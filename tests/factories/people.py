"""Runners, their phones' tokens, users, follows and share links."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from runners.models import Follow, Race, Runner, RunnerToken, ShareLink

HOUR = timedelta(hours=1)


@dataclass
class Keys:
    """Secrets by name: tokens of phones, share links and session cookies."""

    tokens: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)


def make_runner(
    code: str,
    name: str = "",
    *,
    visibility: str = Runner.Visibility.PUBLIC,
    cheers: bool = True,
    account: User | None = None,
) -> Runner:
    """Make a runner, whose name defaults to their code."""
    return Runner.objects.create(
        code=code,
        name=name or code.title(),
        visibility=visibility,
        cheers=cheers,
        account=account,
    )


def make_token(runner: Runner) -> str:
    """Make a token for a runner's phone."""
    return RunnerToken.objects.issue(runner, name="phone")[1]


def make_phone(code: str, name: str = "", visibility: str = "public") -> str:
    """Make a runner; return the token of their phone."""
    return make_token(make_runner(code, name, visibility=visibility))


@transaction.atomic
def make_phones(count: int, prefix: str = "r") -> dict[str, str]:
    """Make public runners; return their phones' tokens by code."""
    return {
        f"{prefix}{n}": make_phone(f"{prefix}{n}", f"Runner {n}") for n in range(count)
    }


def make_user(name: str, password: str | None = None) -> User:
    return User.objects.create_user(name, password=password)


def make_office(password: str | None = None) -> User:
    """Make a user of the race office with all permissions."""
    return User.objects.create_superuser("office", password=password)


def signed_in(user: User) -> Client:
    """Return a client in which a user is signed in."""
    client = Client()
    client.force_login(user)
    return client


def make_session(user: User) -> str:
    """Sign a user in; return the session cookie."""
    return signed_in(user).cookies[settings.SESSION_COOKIE_NAME].value


def end_session(cookie: str) -> None:
    """Sign out the user of a session."""
    browser = Client()
    browser.cookies[settings.SESSION_COOKIE_NAME] = cookie
    browser.logout()


def make_follow(
    user: User, runner: Runner, status: str = Follow.Status.ACCEPTED, **fields: Any
) -> Follow:
    return Follow.objects.create(user=user, runner=runner, status=status, **fields)


def make_link(
    *runners: Runner,
    race: Race | None = None,
    label: str = "Mum",
    life: timedelta = HOUR,
    pin: str = "",
    earlier: bool = False,
) -> tuple[ShareLink, str]:
    """Make a link to runners or to a race; return its row and the plain token."""
    return ShareLink.objects.issue(
        label=label,
        expires_at=timezone.now() + life,
        runners=list(runners),
        race=race,
        pin=pin,
        earlier=earlier,
    )
