"""Downloads and deletes a user's data."""

from __future__ import annotations

from typing import TypeVar

from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from runners.models import Runner
from runners.preferences.runner_settings import (
    account_delete,
    positions_erase,
    runner_delete,
)
from runners.views.me.forms import ConfirmForm
from runners.views.me.page import back_to, own_form, own_page, own_runner
from runners.views.track_files import ExportJson, TrackGpx, track_response

R = TypeVar("R", bound=HttpResponseBase)


@require_safe
@own_runner
def export_json(request: HttpRequest, runner: Runner) -> HttpResponseBase:
    response = track_response(request, ExportJson(runner), runner.positions.all())
    return _as_file(response, f"{runner.code}.json")


@require_safe
@own_runner
def export_gpx(request: HttpRequest, runner: Runner) -> HttpResponseBase:
    response = track_response(
        request, TrackGpx(runner.name), runner.positions.filter(held=False)
    )
    return _as_file(response, f"{runner.code}.gpx")


@own_form
def erase(request: HttpRequest, runner: Runner) -> HttpResponse:
    """Delete all positions."""
    form = ConfirmForm(request.POST, word=runner.code, auto_id="erase_%s")
    if not form.is_valid():
        return own_page(request, runner, erase_form=form)
    count = positions_erase(runner=runner)
    words = ngettext(
        "{count} position deleted, also from every open map.",
        "{count} positions deleted, also from every open map.",
        count,
    )
    messages.success(request, words.format(count=count))
    return back_to("data")


@own_form
def delete_runner(request: HttpRequest, runner: Runner) -> HttpResponse:
    """Delete the runner; the account remains, with its follows."""
    form = ConfirmForm(request.POST, word=runner.code, auto_id="runner_%s")
    if not form.is_valid():
        return own_page(request, runner, runner_form=form)
    runner_delete(runner=runner)
    messages.success(request, _("Your runner and all its data are deleted."))
    return redirect("become_runner")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def delete_account(request: HttpRequest) -> HttpResponse:
    """Delete the account, and its runner if there is one."""
    if not request.user.is_authenticated:
        return redirect("account_login")
    user = request.user
    form = ConfirmForm(
        request.POST if request.method == "POST" else None,
        word=user.get_username(),
        auto_id="account_%s",
    )
    if not form.is_valid():
        return render(request, "runners/me/delete_account.html", {"form": form})
    logout(request)
    account_delete(user=user)
    return render(request, "runners/me/gone.html")


def _as_file(response: R, name: str) -> R:
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
