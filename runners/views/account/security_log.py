"""Logs security events of accounts with their address, and never a secret.

Accounts are logged by their primary key, so that no line has text of a visitor.
"""

from __future__ import annotations

import logging
from typing import Any

from allauth.account import signals as account_signals
from allauth.mfa import signals as mfa_signals
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.auth.signals import (
    user_logged_in,
    user_logged_out,
    user_login_failed,
)
from django.dispatch import Signal
from django.http import HttpRequest

logger = logging.getLogger(__name__)

# The event to log at each signal that has `request` and `user`.
EVENTS: dict[Signal, str] = {
    user_logged_in: "signed in to",
    user_logged_out: "signed out of",
    account_signals.user_signed_up: "created",
    account_signals.password_changed: "changed the password of",
    account_signals.password_set: "set a password of",
    account_signals.password_reset: "reset the password of",
    account_signals.email_added: "added a mail address to",
    account_signals.email_changed: "changed the mail address of",
    account_signals.email_removed: "removed a mail address from",
    mfa_signals.authenticator_added: "added a second factor to",
    mfa_signals.authenticator_removed: "removed a second factor from",
    mfa_signals.authenticator_reset: "replaced the recovery codes of",
    mfa_signals.authentication_failed: "gave a wrong second factor for",
}


def connect() -> None:
    """Log these events from now on."""
    for signal in EVENTS:
        signal.connect(_log, dispatch_uid=__name__)
    user_login_failed.connect(_log_failure, dispatch_uid=__name__)


def record(
    request: HttpRequest | None, event: str, user: AbstractBaseUser | None
) -> None:
    """Log an event, such as "signed in to", of an account or an unknown one."""
    address = request.META.get("REMOTE_ADDR") if request else None
    account = f"account {user.pk}" if user and user.pk else "an unknown account"
    logger.info("%s %s %s", address or "Somebody", event, account)


def _log(
    signal: Signal,
    request: HttpRequest | None = None,
    user: AbstractBaseUser | None = None,
    authenticator: Any = None,
    **kwargs: Any,
) -> None:
    kind = "" if authenticator is None else f"{authenticator.type}: "
    record(request, f"{kind}{EVENTS[signal]}", user)


def _log_failure(
    credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    name = credentials.get("username", "")
    user = User.objects.filter(username__iexact=name).only("pk").first()
    record(request, "gave a wrong password for", user)
