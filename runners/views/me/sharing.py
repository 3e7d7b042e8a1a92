"""The page's forms for visibility, pauses and the end of sharing."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from runners.models import Runner
from runners.preferences.runner_settings import (
    cheers_set,
    sharing_pause,
    sharing_resume,
    sharing_until,
    stop_link_issue,
    stop_link_revoke,
    visibility_set,
)
from runners.views.me.forms import EndForm, VisibilityForm
from runners.views.me.page import back_to, own_form, own_page


@own_form
def visibility(request: HttpRequest, runner: Runner) -> HttpResponse:
    form = VisibilityForm(request.POST, runner=runner, auto_id="visibility_%s")
    if not form.is_valid():
        return own_page(request, runner, visibility_form=form)
    visibility_set(runner=runner, visibility=form.cleaned_data["visibility"])
    messages.success(request, _("Saved. It applies to every open map."))
    return back_to("visibility")


@own_form
def pause(request: HttpRequest, runner: Runner) -> HttpResponse:
    sharing_pause(runner=runner)
    return back_to("sharing")


@own_form
def resume(request: HttpRequest, runner: Runner) -> HttpResponse:
    """Resume sharing, after a pause and after an end."""
    sharing_resume(runner=runner)
    if runner.sharing_ends_at is not None and runner.sharing_ends_at <= timezone.now():
        sharing_until(runner=runner, ends=None)
    return back_to("sharing")


@own_form
def cheers(request: HttpRequest, runner: Runner) -> HttpResponse:
    cheers_set(runner=runner, wanted=request.POST.get("cheers") == "on")
    return back_to("sharing")


@own_form
def until(request: HttpRequest, runner: Runner) -> HttpResponse:
    form = EndForm(request.POST)
    if form.is_valid():
        sharing_until(runner=runner, ends=form.ends())
    else:
        messages.error(request, _("Nothing was changed. Choose when sharing ends."))
    return back_to("sharing")


@sensitive_variables("plain", "context")
@own_form
def make_stop_link(request: HttpRequest, runner: Runner) -> HttpResponse:
    """Create the link that pauses sharing and show it; no later page can."""
    plain = stop_link_issue(runner=runner)
    context = {"url": f"{settings.PUBLIC_URL}{reverse('stop', args=[plain])}"}
    return render(request, "runners/me/stop_link.html", context)


@own_form
def revoke_stop_link(request: HttpRequest, runner: Runner) -> HttpResponse:
    stop_link_revoke(runner=runner)
    messages.success(request, _("The link that stops sharing no longer works."))
    return back_to("sharing")
