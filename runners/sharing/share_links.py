"""Looks up share links by their token and PIN."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from django.utils import timezone

from runners.models import ShareLink

# Threads that hash PINs. With a thread per request, a hundred concurrent guesses would
# leave the event loop a hundredth of a core.
PIN_THREADS = ThreadPoolExecutor(2, thread_name_prefix="pin")


class LinkError(Exception):
    """A share link that shows nothing; `code` is stable and dotted, `at` its end."""

    def __init__(self, code: str, detail: str, at: datetime | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.at = at


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
