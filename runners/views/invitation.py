"""The page of an invitation to a race office."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from runners.models import Invitation
from runners.notifying.inviting import invitation_accept, invitation_of
from runners.units.errors import CodedError
from runners.views.account.security_log import record


@never_cache
@sensitive_variables()
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show what an invitation is for; accept it by POST, with an account."""
    found = invitation_of(token)
    if found is None:
        page = "runners/invitation_ended.html"
        return render(request, page, status=HTTPStatus.NOT_FOUND)
    # After they sign in or sign up, people come back here.
    query = urlencode({"next": request.path})
    context = {
        "invitation": found,
        "login_url": f"{reverse('account_login')}?{query}",
        "signup_url": f"{reverse('account_signup')}?{query}",
    }
    user = request.user
    if request.method == "POST" and user.is_authenticated:
        try:
            return accepted(request, found, user)
        except CodedError as error:
            context["problem"] = error.detail
    return render(request, "runners/invitation.html", context)


def accepted(request: HttpRequest, found: Invitation, user: User) -> HttpResponse:
    """Accept an invitation; return a redirect to the desk. Raises `CodedError`."""
    invitation_accept(invitation=found, user=user)
    record(request, f"became {found.role} of race {found.race_id}:", user)
    return redirect("admin:runners_race_desk", found.race_id)
