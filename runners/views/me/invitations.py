"""Answers invitations to race offices that were made by username."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache

from runners.models import Invitation
from runners.notifying.inviting import invitations_of
from runners.units.errors import CodedError
from runners.views.invitation import accepted
from runners.views.me.page import form_of


@never_cache
@login_required
@form_of("me")
def answer(request: HttpRequest, pk: int) -> HttpResponse:
    """Accept or decline an invitation of the own username."""
    user = cast(User, request.user)
    found = next((each for each in invitations_of(user) if each.pk == pk), None)
    chosen = request.POST.get("answer")
    if found is None or chosen not in ("accept", "decline"):
        raise Http404("There is no such invitation or answer.")
    if chosen == "decline":
        # Whether there is an account would show in the office if the row were gone.
        Invitation.objects.filter(pk=pk, user=user).update(user=None)
        return redirect("me")
    try:
        return accepted(request, found, user)
    except CodedError as error:
        messages.error(request, error.detail)
        return redirect("me")
