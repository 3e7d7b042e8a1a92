from __future__ import annotations

from collections.abc import Callable

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.http import HttpRequest

from runners.notifying.mail import is_offered

SECOND_FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


def account_context(request: HttpRequest) -> dict[str, Callable[[], bool]]:
    """Add to templates whether mail is sent, and whether the account is well protected.

    Functions, as most pages need neither.
    """
    return {
        "mail_offered": is_offered,
        "has_second_factor": lambda: is_mfa_enabled(request.user, SECOND_FACTORS),
    }
