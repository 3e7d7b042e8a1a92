"""The page of a race's timing mats: tables are imported, and gunshots become starts."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin, messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from runners.admin.race_pages import permitted_race, race_page
from runners.models import Passing, Race
from runners.rights.roles import Action
from runners.startlist.spreadsheet import (
    MAX_BYTES,
    StartListError,
    numbered_rows,
)
from runners.timing.gunshots import Gunshot, gunshots_of, starts_set
from runners.timing.storage import passings_store
from runners.timing.tables import (
    CHIP_COLUMNS,
    PASSING_COLUMNS,
    Row,
    chip_table,
    chips_import,
    kind_of,
    passing_table,
    rows_of,
)

SALT = "runners.timing"
# Faults that a preview shows.
SHOWN = 200
# Passings of one transaction.
AT_ONCE = 2_000


class UploadForm(forms.Form):
    file = forms.FileField(
        label="Chips or passings",
        help_text=f"CSV or XLSX. Chips have the columns {', '.join(CHIP_COLUMNS)}; "
        f"passings {', '.join(PASSING_COLUMNS)}, of which chip or bib may be missing.",
        widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.txt,.xlsx"}),
    )

    def clean_file(self) -> tuple[str, list[Row]]:
        try:
            content = self.cleaned_data["file"].read(MAX_BYTES + 1)
            headings, rows = rows_of(numbered_rows(content, PASSING_COLUMNS))
        except StartListError as error:
            raise forms.ValidationError(str(error)) from error
        kind = kind_of(headings)
        if kind is None:
            raise forms.ValidationError(
                "The first row names neither chip and bib, nor station and time; it "
                f"has: {', '.join(filter(None, headings[:10])) or 'nothing'}."
            )
        return kind, rows


def timing_import(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, pk: int
) -> HttpResponse:
    """Upload a file and preview its effect; then import it."""
    race = permitted_race(request, pk, Action.TIMES)
    if "rows" in request.POST:
        return _import(race_admin, request, race)
    if "gunshot" in request.POST:
        return _start(race_admin, request, race)
    form = UploadForm(request.POST or None, request.FILES or None)
    context: dict[str, Any] = {
        "form": form,
        "chips": race.chips.count(),
        "gunshots": [(each, _start_words(each)) for each in gunshots_of(race)],
    }
    if request.method == "POST" and form.is_valid():
        kind, rows = form.cleaned_data["file"]
        good, faults = (chip_table if kind == "chips" else passing_table)(race, rows)
        context |= {
            "kind": kind,
            "count": len(good),
            "faults": faults[:SHOWN],
            "faulty_rows": len({fault.row for fault in faults}),
            # The previewed content, so that exactly this is imported.
            "rows": signing.dumps([kind, rows], salt=SALT, compress=True),
        }
    return race_page(race_admin, request, race, "timing", "Timing mats", **context)


def _import(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, race: Race
) -> HttpResponse:
    try:
        kind, rows = signing.loads(request.POST["rows"], salt=SALT)
    except signing.BadSignature:
        summary = "Upload the file again: nothing was imported."
        race_admin.message_user(request, summary, messages.ERROR)
    else:
        summary = _chips(race, rows) if kind == "chips" else _passings(race, rows)
        race_admin.log_change(request, race, f"Imported from a file: {summary}")
        race_admin.message_user(request, summary, messages.SUCCESS)
    return HttpResponseRedirect(reverse("admin:runners_race_timing", args=[race.pk]))


def _start(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, race: Race
) -> HttpResponse:
    """Start the race or waves at the posted marker."""
    permitted_race(request, race.pk, Action.EDIT)
    for gunshot in gunshots_of(race):
        if str(gunshot.marker.pk) == request.POST["gunshot"]:
            words = _start_words(gunshot)
            starts_set(gunshot)
            race_admin.log_change(request, race, f"By a gunshot: {words}.")
            race_admin.message_user(request, f"{words}.", messages.SUCCESS)
            break
    else:
        summary = "This marker is not near a start any more: nothing was changed."
        race_admin.message_user(request, summary, messages.ERROR)
    return HttpResponseRedirect(reverse("admin:runners_race_timing", args=[race.pk]))


def _start_words(gunshot: Gunshot) -> str:
    """Return what a gunshot sets or has set, in milliseconds of the race's clock."""
    race, time = gunshot.marker.race, gunshot.marker.time
    assert time is not None
    zone = ZoneInfo(race.timezone)
    names = " and ".join(map(str, gunshot.starts))
    at = time.astimezone(zone).time()
    words = f"{names} started at {at.isoformat('milliseconds')}"
    if gunshot.is_set:
        return words
    was = gunshot.starts[0].start.astimezone(zone).time()
    return f"{words}, not at {was.isoformat('milliseconds')}"


def _chips(race: Race, rows: list[Row]) -> str:
    table = chip_table(race, rows)
    chips_import(race=race, chips=table.chips)
    return f"{len(table.chips)} chips."


def _passings(race: Race, rows: list[Row]) -> str:
    reads = passing_table(race, rows).reads
    new = sum(
        passings_store(
            race=race, source=Passing.Source.CSV, reads=reads[at : at + AT_ONCE]
        )
        for at in range(0, len(reads), AT_ONCE)
    )
    return f"{len(reads)} passings, {new} of them new."
