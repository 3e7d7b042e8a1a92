from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from runners.models import Runner
from runners.preferences.runner_settings import zone_add
from runners.views.me.forms import MOST_ZONES, ZoneForm
from runners.views.me.page import back_to, own_form, own_page


@sensitive_post_parameters()
@own_form
def add(request: HttpRequest, runner: Runner) -> HttpResponse:
    """Hide a place, and delete its stored positions."""
    form = ZoneForm(request.POST, auto_id="zone_%s")
    if form.is_valid() and runner.zones.count() >= MOST_ZONES:
        words = _("You can have at most {count} zones. Remove one first.")
        form.add_error(None, words.format(count=MOST_ZONES))
    if not form.is_valid():
        return own_page(request, runner, zone_form=form)
    zone = zone_add(runner=runner, **form.cleaned_data)
    messages.success(
        request, _("“{name}” is hidden from now on.").format(name=zone.name)
    )
    return back_to("zones")


@own_form
def remove(request: HttpRequest, runner: Runner, pk: int) -> HttpResponse:
    zone = get_object_or_404(runner.zones, pk=pk)
    zone.delete()
    words = _("“{name}” is no longer hidden.")
    messages.success(request, words.format(name=zone.name))
    return back_to("zones")
