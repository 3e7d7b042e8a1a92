"""Looks up a session's user and a token's runner, each as a client sends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.module_loading import import_string

from runners.models import Runner, RunnerToken
from runners.models.runner import token_digest
from runners.positions.track import Publisher

LAST_USE_PRECISION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """A runner's token: its primary key, its runner, its end, and its last use."""

    token: int
    publisher: Publisher
    until: datetime | None
    revoked: bool
    last_used_at: datetime | None

    @property
    def usable(self) -> bool:
        """Return whether the token may publish now."""
        return not self.revoked and (self.until is None or self.until > timezone.now())


def user_of_session(session_key: str) -> int | None:
    """Return the id of the user who is signed in by a session, or None."""
    request = HttpRequest()
    store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    request.session = store(session_key)
    if SESSION_KEY not in request.session:
        return None
    user = get_user(request)
    return None if isinstance(user, AnonymousUser) else user.pk


def read_tokens(digests: Sequence[str]) -> dict[str, TokenIdentity]:
    """Map digests to their tokens, including ended ones. Causes one query."""
    rows = RunnerToken.objects.filter(digest__in=digests).values_list(
        *("digest", "pk", "runner_id", "runner__code"),
        *("expires_at", "revoked_at", "last_used_at"),
    )
    return {
        digest: TokenIdentity(
            pk, Publisher(runner, code), until, revoked_at is not None, last_used_at
        )
        for digest, pk, runner, code, until, revoked_at, last_used_at in rows
    }


def find_token(plain: str) -> TokenIdentity | None:
    """Return the token and its runner if it is usable; records its use."""
    digest = token_digest(plain)
    identity = read_tokens([digest]).get(digest)
    if identity is None or not identity.usable:
        return None
    # The use is not recorded on each request: after a restart all phones connect at
    # once, and each write waits for the recorder's transactions.
    used, now = identity.last_used_at, timezone.now()
    if used is None or now - used > LAST_USE_PRECISION:
        # Bypasses the manager, because a use changes no right and needs no
        # `RightsChange`.
        QuerySet(RunnerToken).filter(pk=identity.token).update(last_used_at=now)
    return identity


def open_publisher(code: str) -> Publisher:
    """Return the runner of a code, created if needed (open mode)."""
    runner, _ = Runner.objects.get_or_create(code=code, defaults={"name": code})
    return Publisher(runner.pk, code)
