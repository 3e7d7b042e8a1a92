"""Entries by an organiser, which are shown only with the runner's consent."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.dateformat import format as date_format
from django.utils.translation import gettext as _

from runners.models import Race, Runner
from runners.views.me.page import back_to, own_form


@own_form
def answer(request: HttpRequest, runner: Runner, pk: int) -> HttpResponse:
    """Accept an entry, or decline it, even after accepting it."""
    entry = get_object_or_404(runner.entries.select_related("race"), pk=pk)
    chosen = request.POST.get("answer", "")
    if chosen not in ("accept", "decline"):
        raise Http404("There is no such answer.")
    accepts = chosen == "accept"
    if accepts and not _has_seen_times(request, entry.race):
        text = _(
            "The times of {race} have changed. See the new ones, and answer again."
        )
        messages.error(request, text.format(race=entry.race))
        return back_to("entries")
    if accepts:
        now = timezone.now()
        # What was recorded before the first acceptance stays closed.
        since = min(now, entry.shown_from) if entry.accepted else now
        entry.agree(entry.race, since)
    entry.accepted = accepts
    entry.save(update_fields=["accepted", "shown_from", "shown_until", "changed_at"])
    messages.success(
        request,
        _("{race} shows you with the bib {bib}.").format(race=entry.race, bib=entry.bib)
        if entry.accepted
        else _("{race} does not show you.").format(race=entry.race),
    )
    return back_to("entries")


def _has_seen_times(request: HttpRequest, race: Race) -> bool:
    """Return whether the page of the form had the times that the race has now."""
    seen = request.POST.get("start"), request.POST.get("ends")
    return seen == (date_format(race.start, "U"), date_format(race.ends, "U"))
