"""The pages of a race's start list: import and export."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.db.models.functions import Length
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from tablib import Dataset

from runners.admin.race_pages import (
    TABLE_TYPES,
    permitted_race,
    race_page,
    race_table,
)
from runners.models import Entry, Race, Runner
from runners.rights.roles import (
    Action,
    codes_of_others,
    may,
    organises_all,
    races_of,
    runners_managed,
)
from runners.startlist.importing import start_list_import, tokens_issue
from runners.startlist.resource import StartListResource
from runners.startlist.spreadsheet import (
    COLUMNS,
    MAX_BYTES,
    StartListError,
    read_start_list,
)

SALT = "runners.startlist"


class UploadForm(forms.Form):
    file = forms.FileField(
        label="Start list",
        help_text=f"CSV or XLSX, with the columns {', '.join(COLUMNS)}; bib and name "
        "are required. A bib or code that is already entered is updated.",
        widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.txt,.xlsx"}),
    )

    def clean_file(self) -> tuple[Dataset, list[str]]:
        try:
            return read_start_list(self.cleaned_data["file"].read(MAX_BYTES + 1))
        except StartListError as error:
            raise forms.ValidationError(str(error)) from error


def start_list(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, pk: int
) -> HttpResponse:
    """Upload a file and preview its effect; then import it."""
    race = permitted_race(request, pk, Action.ENTER)
    if "rows" in request.POST:
        return _import(race_admin, request, race)
    form = UploadForm(request.POST or None, request.FILES or None)
    context: dict[str, Any] = {"form": form, "entered": race.entries.count()}
    if request.method == "POST" and form.is_valid():
        table, unknown = form.cleaned_data["file"]
        if taken := _codes_of_others(request, table):
            form.add_error("file", _taken(taken))
    if request.method == "POST" and form.is_valid():
        managed = runners_managed(request.user, Action.ENTER)
        preview = start_list_import(
            race=race, table=table, managed=managed, dry_run=True
        )
        context |= {
            "preview": preview,
            "unknown": unknown,
            # Store the previewed content, so that exactly this is imported.
            "rows": signing.dumps(
                [table.headers, *map(list, table)], salt=SALT, compress=True
            ),
        }
    return race_page(race_admin, request, race, "start_list", "Start list", **context)


def _codes_of_others(request: HttpRequest, table: Dataset) -> set[str]:
    if organises_all(request.user) or "code" not in table.headers:
        return set()
    return codes_of_others(table["code"], races_of(request.user, Action.ENTER))


def _taken(codes: set[str]) -> str:
    return (
        "Runners outside of your races have these codes, and are not entered by you: "
        f"{', '.join(sorted(codes)[:10])}. Leave these cells empty, or use other codes."
    )


def _import(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, race: Race
) -> HttpResponse:
    back = HttpResponseRedirect(
        reverse("admin:runners_race_start_list", args=[race.pk])
    )
    try:
        headers, *rows = signing.loads(request.POST["rows"], salt=SALT)
    except signing.BadSignature:
        race_admin.message_user(
            request, "Upload the file again: nothing was imported.", messages.ERROR
        )
        return back
    table = Dataset(*rows, headers=headers)
    if taken := _codes_of_others(request, table):
        race_admin.message_user(request, _taken(taken), messages.ERROR)
        return back
    try:
        managed = runners_managed(request.user, Action.ENTER)
        done = start_list_import(race=race, table=table, managed=managed)
    except IntegrityError:
        race_admin.message_user(
            request,
            "The start list has changed since the upload, and nothing was "
            "imported. Upload the file again.",
            messages.ERROR,
        )
        return back
    summary = f"{done.new} entered, {done.changed} changed, {done.unchanged} as before"
    if done.faults:
        summary += f", {done.faulty_rows} rows left out"
    race_admin.log_change(request, race, f"Imported a start list: {summary}.")
    race_admin.message_user(
        request,
        f"{summary}.",
        messages.WARNING if done.faults else messages.SUCCESS,
    )
    if "tokens" in request.POST:
        return _tokens(race_admin, request, race, table)
    return back


@sensitive_variables()
def _tokens(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, race: Race, table: Dataset
) -> HttpResponse:
    """Issue tokens for the phones of a list, and return them; no later page can."""
    if not may(request.user, race, Action.ISSUE):
        raise PermissionDenied
    managed = runners_managed(request.user, Action.ISSUE)
    issued = tokens_issue(race=race, bibs=table["bib"], managed=managed)
    race_admin.log_change(request, race, f"Issued the tokens of {len(issued)} phones.")
    rows = [
        (entry.bib, entry.runner.name, entry.runner.code, plain)
        for entry, plain in issued
    ]
    return race_table(
        race, Dataset(*rows, headers=["bib", "name", "code", "token"]), "tokens", "csv"
    )


def export(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, pk: int, kind: str
) -> HttpResponse:
    """Return the start list as CSV or XLSX, in the order of the bibs."""
    race = permitted_race(request, pk, Action.VIEW)
    if kind not in TABLE_TYPES:
        raise Http404("A start list must be a CSV or XLSX file.")
    entries = Entry.objects.filter(race=race).select_related("runner", "wave")
    resource = StartListResource(race, Runner.objects.none())
    table = resource.export(entries.order_by(Length("bib"), "bib"))
    if not may(request.user, race, Action.ISSUE):
        del table["mail"]
    return race_table(race, table, "start-list", kind)
