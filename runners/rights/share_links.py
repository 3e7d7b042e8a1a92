"""Looks up share links by their token and PIN."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Lock

from django.contrib.auth.hashers import check_password
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from runners import database
from runners.models import ShareLink
from runners.units.errors import CodedError

# Threads for hashing PINs, separate from those for queries: forty guesses at once would
# occupy these for seconds.
PIN_THREADS = ThreadPoolExecutor(2, thread_name_prefix="pin")
# This many wrong PINs lock their link in this process, for some time after the last
# one.
MOST_WRONG = 10
LOCK_S = 60.0
# Limit of links whose wrong PINs are counted, and of cached right PINs.
MOST_KEPT = 10_000


class LinkError(CodedError):
    """A share link that shows nothing; `at` is its end."""

    def __init__(self, code: str, detail: str, at: datetime | None = None) -> None:
        super().__init__(code, detail)
        self.at = at


class LinkLocked(LinkError):
    """A share link that accepts no PIN for `after` seconds, not even the right one."""

    def __init__(self, after: float) -> None:
        super().__init__("rate.limited", "Too many wrong PINs. Try again in a minute.")
        self.after = math.ceil(after)
        self.fields["after"] = 1000 * self.after


class WrongPins:
    """Counts the wrong PINs of each link."""

    def __init__(self) -> None:
        self._lock = Lock()
        # The count and the time of the last wrong PIN by link, the oldest first.
        self._counts: dict[int, tuple[int, float]] = {}

    def add(self, link: int) -> None:
        """Count a PIN as wrong before it is hashed; raises `LinkLocked`."""
        now = time.monotonic()
        with self._lock:
            count, last = self._counts.get(link, (0, now))
            if now - last >= LOCK_S:
                count = 0
            if count >= MOST_WRONG:
                raise LinkLocked(LOCK_S - (now - last))
            self._counts.pop(link, None)
            self._counts[link] = count + 1, now
            if len(self._counts) > MOST_KEPT:
                del self._counts[next(iter(self._counts))]

    def remove(self, link: int) -> None:
        """Do not count a PIN that was right."""
        with self._lock:
            count, last = self._counts.get(link, (1, 0.0))
            self._counts[link] = count - 1, last


_wrong_pins = WrongPins()
# Keyed digests of right PINs, because programs send their PIN with each request.
_right_pins: set[bytes] = set()


def find_link(plain: str) -> ShareLink:
    """Return the share link of a token if it is usable; raises `LinkError`."""
    link = ShareLink.objects.of_token(plain).select_related("race").first()
    if link is None:
        raise LinkError("share.unknown", "This link does not exist. Is it complete?")
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


def link_proof(link: ShareLink) -> str:
    """Return a proof that replaces a link's PIN in pages. It changes with the PIN.

    It needs no hashing and opens a locked link too.
    """
    return salted_hmac("runners.share", f"{link.pk} {link.pin}").hexdigest()


def needs_pin(link: ShareLink, pin: str) -> bool:
    """Return whether a PIN has to be checked: there is one, and `pin` is no proof."""
    return bool(link.pin) and not constant_time_compare(pin, link_proof(link))


def check_pin(link: ShareLink, pin: str) -> None:
    """Raise `LinkError` unless this is the link's PIN. Takes a third of a second."""
    if pin:
        _wrong_pins.add(link.pk)
        if _is_right(link, pin):
            _wrong_pins.remove(link.pk)
            return
    raise LinkError("share.pin", "This link needs its PIN.")


def _is_right(link: ShareLink, pin: str) -> bool:
    digest = salted_hmac("runners.pin", f"{link.pin} {pin}").digest()
    if digest in _right_pins:
        return True
    if not check_password(pin, link.pin):
        return False
    if len(_right_pins) >= MOST_KEPT:
        _right_pins.clear()
    _right_pins.add(digest)
    return True


async def open_link(plain: str, pin: str) -> ShareLink:
    """Return the share link of a token and PIN (or proof).

    Raises `LinkError` and `DatabaseUnavailable`.
    """
    link = await database.read(find_link, plain)
    if needs_pin(link, pin):
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(PIN_THREADS, check_pin, link, pin)
    return link


def view_link(plain: str, pin: str) -> ShareLink:
    """Return the share link for its page, and count the view; raises `LinkError`."""
    link = find_link(plain)
    if needs_pin(link, pin):
        PIN_THREADS.submit(check_pin, link, pin).result()
    ShareLink.objects.filter(pk=link.pk).count_view()
    return link
