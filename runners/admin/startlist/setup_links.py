"""The page that mails set-up links to runners and lists their states."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models.functions import Length
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import get_language
from tablib import Dataset

from runners.admin.race_pages import permitted_race, race_page, race_table
from runners.models import Entry, Race
from runners.models.entry import EntryQuerySet
from runners.notifying.mail import is_offered
from runners.notifying.setup_links import (
    MAX_PER_TURN,
    MAX_TO_ADDRESS,
    setup_links_send,
    with_tested,
    without_link,
)
from runners.rights.roles import Action, runners_managed
from runners.units.errors import CodedError

# Rows of the page; the CSV file has all.
ROWS = 500
NO_MAIL, WAITING, SENT, TESTED = "no mail", "waiting", "sent", "tested"
STATES = (TESTED, SENT, WAITING, NO_MAIL)


class SendForm(forms.Form):
    language = forms.ChoiceField(
        choices=settings.LANGUAGES, initial=get_language, label="Language of the mails"
    )


def setup_links(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, pk: int
) -> HttpResponse:
    """List runners by the state of their links (`?show=STATE`); mail the next ones."""
    race = permitted_race(request, pk, Action.ISSUE)
    entries = _entries(race, request)
    form = SendForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        _send(race_admin, request, race, entries, form.cleaned_data["language"])
        return HttpResponseRedirect(
            reverse("admin:runners_race_setup_links", args=[race.pk])
        )
    rows = [(entry, _state(entry)) for entry in entries]
    show = request.GET.get("show", "")
    chosen = [row for row in rows if row[1] == show or show not in STATES]
    context: dict[str, Any] = {
        "form": form,
        "counts": [(state, sum(of == state for _, of in rows)) for state in STATES],
        "entered": len(rows),
        "rows": chosen[:ROWS],
        "more": max(0, len(chosen) - ROWS),
        "show": show,
        "next": min(without_link(entries).count(), MAX_PER_TURN),
        "mails": is_offered(),
    }
    return race_page(
        race_admin, request, race, "setup_links", "Links by mail", **context
    )


def setup_links_csv(
    race_admin: admin.ModelAdmin[Race], request: HttpRequest, pk: int
) -> HttpResponse:
    """Return the list as CSV: `bib`, `name`, `mail`, `link` (the state)."""
    race = permitted_race(request, pk, Action.ISSUE)
    rows = [
        (entry.bib, entry.runner.name, entry.mail, _state(entry))
        for entry in _entries(race, request)
    ]
    table = Dataset(*rows, headers=["bib", "name", "mail", "link"])
    return race_table(race, table, "links", "csv")


def _entries(race: Race, request: HttpRequest) -> EntryQuerySet:
    """Return the entries whose phones this user sets up, in the order of the bibs."""
    managed = runners_managed(request.user, Action.ISSUE)
    entries = race.entries.filter(runner__in=managed, runner__account=None)
    ordered = entries.select_related("runner").order_by(Length("bib"), "bib")
    return with_tested(race, ordered)


def _state(entry: Entry) -> str:
    if entry.setup_sent_at is not None:
        return TESTED if entry.tested else SENT  # type: ignore[attr-defined]
    return WAITING if entry.mail else NO_MAIL


def _send(
    race_admin: admin.ModelAdmin[Race],
    request: HttpRequest,
    race: Race,
    entries: EntryQuerySet,
    language: str,
) -> None:
    try:
        turn = setup_links_send(race=race, entries=entries, language=language)
    except CodedError as error:
        messages.error(request, error.detail)
        return
    except OSError:
        messages.error(
            request,
            "The mail server does not respond. Those who have got their link are "
            "listed; send the others in a moment.",
        )
        return
    text = f"Sent {turn.sent} links."
    if turn.refused:
        text += f" {turn.refused} addresses take no mails, and were deleted."
    if turn.failed:
        text += f" The mail server did not take {turn.failed}: send again later."
    if turn.skipped:
        text += (
            f" {turn.skipped} wait until tomorrow: an address gets {MAX_TO_ADDRESS} "
            "links per day."
        )
    messages.info(request, f"{text} {turn.stopped}".strip())
    race_admin.log_change(request, race, f"Mailed the links of {turn.sent} phones.")
