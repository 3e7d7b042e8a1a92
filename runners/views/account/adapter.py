"""The project's changes to django-allauth's behaviour."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import cache
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import segno
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.totp.internal.auth import generate_totp_secret
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sites.shortcuts import get_current_site
from django.core.mail import EmailMessage
from django.http import HttpRequest
from django.shortcuts import redirect

from runners.notifying.mail import stop_headers, stop_line
from runners.notifying.suppression import check_first_mail
from runners.serving import process
from runners.units.errors import CodedError

# Used for clients on a Unix socket, which have no address.
NO_ADDRESS = "0.0.0.0"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's address, possibly as named by a trusted proxy."""
        return request.META.get("REMOTE_ADDR") or NO_ADDRESS

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count a check of a password; raises `ValidationError`.

        By name and network, so that guesses do not lock an account for its owner. All
        networks together have a higher limit.
        """
        super().pre_authenticate(request, **credentials)
        anywhere = ratelimit.consume(
            request,
            app="allauth.account",
            action="login_failed_anywhere",
            key=super()._get_login_attempts_cache_key(request, **credentials),
        )
        if not anywhere:
            # Refused without a check: not a wrong password.
            self._rollback_login_failed_rl_usage()
            raise self.validation_error("too_many_login_attempts")
        self._login_failed_rl_usage.usage += anywhere.usage

    def _get_login_attempts_cache_key(
        self, request: HttpRequest, **credentials: Any
    ) -> str:
        key = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{key} from {ratelimit.get_ip(request)}"

    def send_mail(self, template_prefix: str, email: str, context: Any) -> None:
        """Send a mail. One to an unconfirmed address counts as a first mail."""
        if not _is_confirmed(email):
            try:
                check_first_mail(email, account=self.request.user.pk)
            except CodedError as error:
                if self.request.user.is_anonymous:
                    return
                messages.error(self.request, error.detail)
                raise ImmediateHttpResponse(redirect("account_email")) from None
        context = {
            "request": self.request,
            "email": email,
            "current_site": get_current_site(self.request),
            **context,
        }
        message = self.render_mail(template_prefix, email, context)
        # Not in the turn of a request, which a mail server that hangs would keep. The
        # time would also reveal which addresses have accounts.
        if process.is_current():
            process.current().notifier.account_mails.send_soon(message)
        else:
            message.send()

    def render_mail(
        self, template_prefix: str, email: str, context: Any, headers: Any = None
    ) -> EmailMessage:
        is_first = not _is_confirmed(email)
        message: EmailMessage = super().render_mail(
            template_prefix, email, context, stop_headers(email) if is_first else None
        )
        if is_first:
            message.body = str(message.body) + stop_line(email)
        return message

    def reauthenticate(self, user: User, password: str) -> bool:
        """Check the password, and keep the session if its hash is renewed by that."""
        is_right = bool(super().reauthenticate(user, password))
        user.refresh_from_db(fields=["password"])
        self.request.session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        return is_right

    def get_reset_password_from_key_url(self, key: str) -> str:
        return _public(super().get_reset_password_from_key_url(key))

    def get_email_confirmation_url(
        self, request: HttpRequest, emailconfirmation: Any
    ) -> str:
        return _public(super().get_email_confirmation_url(request, emailconfirmation))


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def encrypt(self, text: str) -> str:
        """Encrypt what the codes of an app and recovery codes are made of."""
        return _cipher(settings.SECRET_KEY).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Decrypt it; with a different SECRET_KEY no code is right any more."""
        try:
            cipher = _cipher(settings.SECRET_KEY)
            return cipher.decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            return str(generate_totp_secret())

    def build_totp_svg(self, url: str) -> str:
        """Draw the QR code for an authenticator app."""
        image = BytesIO()
        segno.make(url).save(image, kind="svg", xmldecl=False, light="#FFFFFF")
        return image.getvalue().decode()


@cache
def _cipher(secret: str) -> Fernet:
    derived = HKDF(SHA256(), 32, salt=None, info=b"spectate second factors")
    return Fernet(urlsafe_b64encode(derived.derive(secret.encode())))


def _is_confirmed(address: str) -> bool:
    return bool(
        EmailAddress.objects.filter(email__iexact=address, verified=True).exists()
    )


def _public(url: str) -> str:
    """Replace the host of a request, which its sender chose, by that of PUBLIC_URL."""
    return settings.PUBLIC_URL + urlsplit(url).path
