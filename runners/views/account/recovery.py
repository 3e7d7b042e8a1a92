"""Resets a password by a recovery code, for accounts and servers without mail."""

from __future__ import annotations

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from allauth.account.views import password_reset_from_key
from allauth.core import ratelimit
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import (
    sensitive_post_parameters,
    sensitive_variables,
)
from django.views.decorators.http import require_http_methods

from runners.views.account.forms import RecoverForm
from runners.views.account.security_log import record

# The session key in which allauth's page for a new password expects the key.
SESSION_KEY = "_password_reset_key"
PAGE = password_reset_from_key.view_class.reset_url_key


@never_cache
@sensitive_post_parameters("code")
@sensitive_variables("form", "code")
@require_http_methods(["GET", "HEAD", "POST"])
def recover(request: HttpRequest) -> HttpResponse:
    """Redeem a recovery code, then ask for a new password.

    A second factor is still needed to sign in with it.
    """
    form = RecoverForm(request.POST or None)
    if form.is_valid():
        username, code = form.cleaned_data["username"], form.cleaned_data["code"]
        if not ratelimit.consume(request, action="recover", key=username.casefold()):
            refusal: HttpResponse = ratelimit.respond_429(request)
            return refusal
        if user := _use_code(username, code):
            record(request, "used a recovery code to reset the password of", user)
            request.session[SESSION_KEY] = default_token_generator.make_token(user)
            return redirect(
                "account_reset_password_from_key", user_pk_to_url_str(user), PAGE
            )
        record(request, "tried a wrong recovery code for", _account(username))
        form.add_error(None, _("The username and the code do not match."))
    return render(request, "account/recover.html", {"form": form})


def _account(username: str) -> User | None:
    return User.objects.filter(username__iexact=username, is_active=True).first()


def _use_code(username: str, code: str) -> User | None:
    codes = Authenticator.objects.filter(
        user=_account(username), type=Authenticator.Type.RECOVERY_CODES
    ).first()
    if codes is None or not codes.wrap().validate_code(code):
        return None
    user: User = codes.user
    return user
