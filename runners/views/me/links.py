from __future__ import annotations

from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import (
    sensitive_post_parameters,
    sensitive_variables,
)

from runners.models import Runner, ShareLink
from runners.views.me.forms import LinkForm
from runners.views.me.page import back_to, own_form, own_page


@sensitive_post_parameters("pin")
@sensitive_variables("plain", "context")
@own_form
def make(request: HttpRequest, runner: Runner) -> HttpResponse:
    """Create a link and show it; only its hash is stored, so no later page can."""
    form = LinkForm(request.POST, runner=runner, auto_id="link_%s")
    if not form.is_valid():
        return own_page(request, runner, link_form=form)
    link, plain = ShareLink.objects.issue(
        label=form.cleaned_data["label"],
        expires_at=form.expires_at(),
        runners=[runner],
        pin=form.cleaned_data["pin"],
        earlier=form.cleaned_data["earlier"],
        created_by=cast(User, request.user),
    )
    context = {
        "runner": runner,
        "link": link,
        "pin": form.cleaned_data["pin"],
        "url": f"{settings.PUBLIC_URL}{reverse('share', args=[plain])}",
    }
    return render(request, "runners/me/link.html", context)


@own_form
def revoke(request: HttpRequest, runner: Runner, pk: int) -> HttpResponse:
    link = get_object_or_404(runner.links, pk=pk)
    link.revoke()
    words = _("The link for “{label}” no longer works.")
    messages.success(request, words.format(label=link.label))
    return back_to("links")
