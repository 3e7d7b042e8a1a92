"""Identifies the client: a signed-in user, a runner's phone or a holder of a link."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils import timezone
from django.utils.module_loading import import_string

from runners.models import Runner, RunnerToken, ShareLink
from runners.models.runner import token_digest
from runners.positions.track import Publisher

# The precision of a token's last use.
USE_NOTED = timedelta(minutes=1)


# Threads that hash PINs. With a thread per request, a hundred concurrent guesses would
# leave the event loop a hundredth of a core.
PIN_THREADS = ThreadPoolExecutor(2, thread_name_prefix="pin")


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """A usable runner token: its primary key, its runner and its end."""

    token: int
    publisher: Publisher
    until: datetime | None


class LinkError(Exception):
    """A share link that shows nothing; `code` is stable and dotted, `at` its end."""

    def __init__(self, code: str, detail: str, at: datetime | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.at = at


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
    # Not for each request: after a restart all phones connect at once, and each write
    # waits for the recorder's transactions.
    if token.last_used_at is None or now - token.last_used_at > USE_NOTED:
        token.last_used_at = now
        token.save(update_fields=["last_used_at"])
    publisher = Publisher(token.runner.pk, token.runner.code)
    return TokenIdentity(token.pk, publisher, token.expires_at)


def open_publisher(code: str) -> Publisher:
    """Return the runner of a code, created if needed (open mode)."""
    runner, _ = Runner.objects.get_or_create(code=code, defaults={"name": code})
    return Publisher(runner.pk, code)


def find_link(plain: str) -> ShareLink:
    """Return the share link of a token if it is usable; raises `LinkError`."""
    link = ShareLink.objects.of_token(plain).select_related("race").first()
    if link is None:
        raise LinkError("share.unknown", "There is no such link. Is it complete?")
    if link.revoked_at is not None:
        raise LinkError("share.revoked", "This link was revoked. Ask for a new one.")
    if link.expires_at <= timezone.now():
        raise LinkError(
            "share.expired",
            f"This link expired on {link.expires_at:%A %d %B at %H:%M} UTC. "
            "Ask for a new one.",
            at=link.expires_at,
        )
    return link


def check_pin(link: ShareLink, pin: str) -> None:
    """Raise `LinkError` unless this is the link's PIN. Takes a third of a second."""
    if not link.opens_with(pin):
        raise LinkError("share.pin", "This link needs its PIN.")


def link_of(plain: str, pin: str = "", *, opened: bool) -> ShareLink:
    """Return the share link of a token and PIN; raises `LinkError`.

    `opened`: count the view.
    """
    link = find_link(plain)
    if link.pin:
        PIN_THREADS.submit(check_pin, link, pin).result()
    if opened:
        ShareLink.objects.filter(pk=link.pk).count_view()
    return link
