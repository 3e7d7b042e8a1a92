"""The pages of the desk."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import get_object_or_404
from django.urls import reverse

from runners.admin.desk.queries import calls_of_desk, desk_of
from runners.admin.desk.token_swap import phones_swap, runner_meant
from runners.admin.race_pages import permitted_race, race_page
from runners.models import Entry, Race, Runner
from runners.notifying.sos import sos_acknowledge, sos_close
from runners.races.entries import entry_mark
from runners.rights.roles import Action, AnyUser, actions_of, may_everywhere
from runners.views.assets import map_assets
from runners.views.numbers import whole_number
from runners.views.streets import streets_of

# Django's class accepts no type arguments at run time.
RaceAdmin: TypeAlias = "admin.ModelAdmin[Race]"


def desk(race_admin: RaceAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """Show the desk; its script requests the data."""
    race = permitted_race(request, pk, Action.VIEW)
    actions = actions_of(request.user, race)
    return race_page(
        race_admin,
        request,
        race,
        "desk",
        "Desk",
        config={
            "data": reverse("admin:runners_race_desk_json", args=[pk]),
            "mark": reverse("admin:runners_race_mark", args=[pk]),
            "swap": reverse("admin:runners_race_swap", args=[pk]),
            "sos": reverse("admin:runners_race_sos", args=[pk]),
            # A placeholder for a runner's primary key. No row has 0.
            "runner": reverse("admin:runners_runner_change", args=[0]),
            "mayMark": Action.STATUS in actions,
            "mayHelp": Action.HELP in actions,
            "maySwap": Action.SWAP in actions,
            "map": _map_of(race) if Action.POSITIONS in actions else None,
            "statuses": dict(Entry.Status.choices),
        },
    )


def _map_of(race: Race) -> dict[str, Any] | None:
    """Return the map's files and streets, or None if it is not installed."""
    assets = map_assets()
    if assets is None:
        return None
    style = settings.SPECTATE_MAP_STYLE
    return {
        **assets,
        "style": style,
        "streets": streets_of([race]),
        "course": reverse("course_geojson", args=[race.slug]) if race.length else None,
    }


def desk_json(race_admin: RaceAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """Return all runners and their phones as JSON; the desk polls this."""
    race = permitted_race(request, pk, Action.VIEW)
    return JsonResponse(desk_of(race, request.user))


def mark(race_admin: RaceAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """Set the posted `entry` to the posted `status`."""
    race = permitted_race(request, pk, Action.STATUS)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    key, status = request.POST.get("entry", ""), request.POST.get("status", "")
    entry = get_object_or_404(race.entries, pk=whole_number(key))
    if status not in Entry.Status.values:
        return JsonResponse({"error": f"There is no status {status!r}."}, status=400)
    entry_mark(entry=entry, status=status)
    race_admin.log_change(request, race, f"Marked bib {entry.bib}: {status}.")
    return JsonResponse({"id": entry.pk, "status": entry.status})


def sos(race_admin: RaceAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """Acknowledge or close (the posted `act`) the call for help `sos`."""
    race = permitted_race(request, pk, Action.HELP)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    key, act = request.POST.get("sos", ""), request.POST.get("act", "")
    calls = calls_of_desk(race, request.user).select_related("runner")
    call = get_object_or_404(calls, pk=whole_number(key))
    if act == "seen":
        sos_acknowledge(sos=call, by=cast(User, request.user))
    elif act == "close":
        sos_close(sos=call)
    else:
        return JsonResponse({"error": f"There is no action {act!r}."}, status=400)
    words = "Saw" if act == "seen" else "Closed"
    race_admin.log_change(request, race, f"{words} the call of {call.runner}.")
    return JsonResponse({"id": call.pk})


class SwapForm(forms.Form):
    """The form with two runners whose phones are swapped."""

    first = forms.CharField(
        max_length=40,
        label="Bib",
        help_text="Or the code of a runner without an entry in this race.",
    )
    second = forms.CharField(max_length=40, label="Second bib")

    def __init__(self, *args: Any, race: Race, user: AnyUser, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._race, self._user = race, user

    def clean_first(self) -> Runner:
        return runner_meant(self._race, self.cleaned_data["first"], self._user)

    def clean_second(self) -> Runner:
        return runner_meant(self._race, self.cleaned_data["second"], self._user)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        everywhere = may_everywhere(self._user, Action.SWAP)
        if not everywhere and not Race.objects.window_open().contains(self._race):
            raise forms.ValidationError(
                "Phones are swapped from one hour before the start until the race ends."
            )
        first, second = cleaned.get("first"), cleaned.get("second")
        if first and first == second:
            raise forms.ValidationError("Both are the same runner.")
        if first and second and not any(r.tokens.usable() for r in (first, second)):
            raise forms.ValidationError("Neither runner has a phone.")
        return cleaned


def swap(race_admin: RaceAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """Ask whose phones to swap, show the effect, then swap them."""
    race = permitted_race(request, pk, Action.SWAP)
    fields = request.POST if request.method == "POST" else request.GET
    complete = {"first", "second"} <= fields.keys()
    form = SwapForm(
        fields if complete else None,
        initial=fields.dict(),
        race=race,
        user=request.user,
    )
    if not form.is_valid():
        return race_page(race_admin, request, race, "swap", "Swap phones", form=form)
    first: Runner = form.cleaned_data["first"]
    second: Runner = form.cleaned_data["second"]
    if request.method != "POST":
        sides = [
            {
                "runner": runner,
                "entry": race.entries.filter(runner=runner).first(),
                "tokens": runner.tokens.usable().select_related("phone"),
                "latest": getattr(runner, "latest", None),
            }
            for runner in (first, second)
        ]
        return race_page(
            race_admin, request, race, "swap", "Swap phones", form=form, sides=sides
        )
    gets_first, gets_second = phones_swap(first=first, second=second)
    summary = f"{first} now has {_phones(gets_first)}, {second} {_phones(gets_second)}."
    race_admin.log_change(request, race, f"Swapped phones: {summary}")
    race_admin.message_user(request, summary, messages.SUCCESS)
    return HttpResponseRedirect(reverse("admin:runners_race_desk", args=[pk]))


def _phones(count: int) -> str:
    return "no phone" if not count else "1 phone" if count == 1 else f"{count} phones"
