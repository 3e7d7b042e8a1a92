"""The page of an entry on which the file of a runner's watch is imported."""

from __future__ import annotations

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from runners.activity_files.formats import FileError
from runners.admin.race_pages import permitted_race, race_page
from runners.models import Entry, Race
from runners.rights.roles import Action, runners_managed
from runners.views.activity_upload import ActivityForm, import_signed


def entry_file(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, pk: int, entry: int
) -> HttpResponse:
    """Upload a file and preview its effect; then import it.

    Only of runners whom the user manages: the preview counts the positions that a
    runner does not share, which tells where their zones and when their pauses are.
    """
    race = permitted_race(request, pk, Action.ENTER)
    managed = runners_managed(request.user, Action.ENTER)
    entries = race.entries.shown().filter(runner__in=managed)
    entries = entries.select_related("race", "wave", "runner")
    found = get_object_or_404(entries.defer("race__line"), pk=entry)
    if "fixes" in request.POST:
        return _import(race_admin, request, found)
    form = ActivityForm(request.POST or None, request.FILES or None, entry=found)
    form.is_valid()
    return race_page(
        race_admin, request, race, "file", "File of a watch", form=form, entry=found
    )


def _import(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, entry: Entry
) -> HttpResponse:
    try:
        plan = import_signed(entry, request.POST["fixes"])
    except FileError as error:
        race_admin.message_user(request, str(error), messages.ERROR)
    else:
        summary = f"{len(plan.fixes)} positions of a file for bib {entry.bib}."
        race_admin.log_change(request, entry.race, f"Stored {summary}")
        race_admin.message_user(request, f"Stored {summary}", messages.SUCCESS)
    return HttpResponseRedirect(reverse("admin:runners_entry_change", args=[entry.pk]))
