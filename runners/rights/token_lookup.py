"""Looks up a session's user and a token's runner, each as a client sends it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils import timezone
from django.utils.module_loading import import_string

from runners.models import Runner, RunnerToken
from runners.models.runner import token_digest
from runners.positions.track import Publisher

LAST_USE_PRECISION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """A usable runner token: its primary key, its runner and its end."""

    token: int
    publisher: Publisher
    until: datetime | None


def user_of_session(session_key: str) -> int | None:
    """Return the id of the user who is signed in by a session, or None."""
    request = HttpRequest()
    store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    request.session = store(session_key)
    if SESSION_KEY not in request.session:
        return None
    user = get_user(request)
    return None if isinstance(user, AnonymousUser) else user.pk


def find_token(plain: str) -> TokenIdentity | None:
    """Return the token and its runner if it is usable; records its use."""
    token = (
        RunnerToken.objects.usable()
        .select_related("runner")
        .filter(digest=token_digest(plain))
        .first()
    )
    if token is None:
        return None
    now = timezone.now()
    # The use is not recorded on each request: after a restart all phones connect at
    # once, and each write waits for the recorder's transactions.
    if token.last_used_at is None or now - token.last_used_at > LAST_USE_PRECISION:
        token.last_used_at = now
        token.save(update_fields=["last_used_at"])
    publisher = Publisher(token.runner.pk, token.runner.code)
    return TokenIdentity(token.pk, publisher, token.expires_at)


def open_publisher(code: str) -> Publisher:
    """Return the runner of a code, created if needed (open mode)."""
    runner, _ = Runner.objects.get_or_create(code=code, defaults={"name": code})
    return Publisher(runner.pk, code)
