"""A printable sheet of QR codes, each of which sets one runner's phone up."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models.functions import Length
from django.http import HttpRequest, HttpResponse
from django.views.decorators.debug import sensitive_variables

from runners.admin.race_pages import permitted_race, race_page
from runners.intake.setup import PHONE_APPS
from runners.models import Entry, Race, RunnerToken
from runners.models.entry import EntryQuerySet
from runners.rights.roles import Action, runners_managed
from runners.startlist.importing import without_phone

# Limit of codes on one sheet, because more make a page of many megabytes.
MOST = 200


class SheetForm(forms.Form):
    app = forms.ChoiceField(
        choices=[(app.key, f"{app.name} ({app.phones})") for app in PHONE_APPS.values()]
    )
    bibs = forms.CharField(
        required=False,
        label="Bibs",
        help_text=f"Such as 17, 18. Empty: the first {MOST} who have no phone yet.",
    )

    def clean_bibs(self) -> list[str]:
        text: str = self.cleaned_data["bibs"]
        bibs = [bib.strip() for bib in text.split(",") if bib.strip()]
        if len(bibs) > MOST:
            raise forms.ValidationError(f"At most {MOST} on one sheet.")
        return bibs


@sensitive_variables()
def phone_sheet(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, pk: int
) -> HttpResponse:
    """Choose an app and the runners; then show the sheet, which no later page can."""
    race = permitted_race(request, pk, Action.ISSUE)
    form = SheetForm(request.POST or None)
    context: dict[str, Any] = {"form": form}
    if request.method == "POST" and form.is_valid():
        app = PHONE_APPS[form.cleaned_data["app"]]
        entries = _chosen(_entries(race, request), form.cleaned_data["bibs"])
        with transaction.atomic():
            cards = [
                {
                    "entry": entry,
                    "setup": app.make(
                        entry.runner.code, _issue(entry, str(app.name), race)
                    ),
                }
                for entry in entries
            ]
        found = {entry.bib for entry in entries}
        context |= {
            "app": app,
            "cards": cards,
            "missing": [bib for bib in form.cleaned_data["bibs"] if bib not in found],
        }
        race_admin.log_change(
            request, race, f"Printed the codes of {len(cards)} phones ({app.name})."
        )
    context["without"] = without_phone(_entries(race, request)).count()
    return race_page(
        race_admin, request, race, "phone_sheet", "Codes for phones", **context
    )


def _entries(race: Race, request: HttpRequest) -> EntryQuerySet:
    """Return the entries whose runners get their phones set up by this user."""
    managed = runners_managed(request.user, Action.ISSUE)
    return race.entries.filter(runner__in=managed)


def _chosen(entries: EntryQuerySet, bibs: list[str]) -> list[Entry]:
    chosen = entries.filter(bib__in=bibs) if bibs else without_phone(entries)
    ordered = chosen.select_related("runner").order_by(Length("bib"), "bib")
    return list(ordered[:MOST])


def _issue(entry: Entry, app: str, race: Race) -> str:
    """Issue a token that ends with the race, as paper can be lost."""
    row, plain = RunnerToken.objects.issue(
        entry.runner, name=f"{app}, {race.slug}"[:60]
    )
    row.expires_at = race.ends
    row.save(update_fields=["expires_at"])
    return plain
