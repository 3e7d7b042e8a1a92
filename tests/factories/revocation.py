"""A runner visible to a viewer by one right, and all ways to revoke it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django.contrib.auth.models import User
from django.utils import timezone

from runners.models import Entry, Follow, Race, Runner, RunnerToken, ShareLink
from runners.preferences.runner_settings import (
    account_delete,
    runner_delete,
    visibility_set,
)
from tests.factories.people import (
    end_session,
    make_follow,
    make_link,
    make_runner,
    make_session,
    make_user,
)
from tests.factories.races import make_bare_race

# The right by which a viewer sees the runner, and what they follow.
Way = Literal["anybody", "follower", "link", "race", "race link"]
VISIBILITY: dict[Way, str] = {
    "anybody": "public",
    "follower": "followers",
    "link": "private",
    "race": "race",
    "race link": "race",
}
# An expiring link ends after this time.
EXPIRY_S = 1.5


@dataclass
class Revocable:
    """A runner with a phone, a user who is signed in, and a share link."""

    runner: Runner
    phone: RunnerToken
    token: str
    user: User
    cookie: str
    link: ShareLink
    share: str


def make_revocable(code: str, way: Way) -> Revocable:
    """Make a runner with only this right to be seen, and a race with the same code."""
    runner = make_runner(code, visibility=VISIBILITY[way])
    phone, token = RunnerToken.objects.issue(runner, name="phone")
    user = make_user(code)
    if way == "follower":
        make_follow(user, runner)
    if way in ("race", "race link"):
        race = _enter_race(runner, listed="link" if way == "race link" else "public")
        link, share = make_link(race=race)
    else:
        link, share = make_link(runner)
    return Revocable(runner, phone, token, user, make_session(user), link, share)


def _enter_race(runner: Runner, *, listed: str) -> Race:
    race = make_bare_race(runner.code, hours=1, visibility=listed)
    Entry.objects.create(race=race, runner=runner, bib="1")
    return race


def revoke_token(target: Revocable) -> None:
    target.phone.revoke()


def revoke_link(target: Revocable) -> None:
    target.link.revoke()


def let_link_expire(target: Revocable) -> None:
    """Make the link expire `EXPIRY_S` from now."""
    ends = timezone.now() + timedelta(seconds=EXPIRY_S)
    ShareLink.objects.filter(pk=target.link.pk).update(expires_at=ends)


def remove_follower(target: Revocable) -> None:
    Follow.objects.filter(user=target.user).delete()


def hide(target: Revocable) -> None:
    visibility_set(runner=target.runner, visibility="private")


def sign_out(target: Revocable) -> None:
    end_session(target.cookie)


def delete_account(target: Revocable) -> None:
    account_delete(user=target.user)


def block(target: Revocable) -> None:
    make_follow(target.user, target.runner, Follow.Status.BLOCKED)


def delete_runner(target: Revocable) -> None:
    runner_delete(runner=target.runner)
