"""Files of a watch, which fill the gaps of a race in which the phone died."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from runners.activity_files.formats import FileError
from runners.models import Entry, Runner
from runners.models.race import WINDOW_BEFORE_START
from runners.quotas import over_quota
from runners.views.activity_upload import ActivityForm, import_signed
from runners.views.me.page import back_to, first_error_focused, own_runner

# Races that are offered, the latest first.
MOST_RACES = 50
# Files of one runner that are read per period: one may take 4 s of CPU.
MAX_FILES = 6
PERIOD_S = 60


class OwnActivityForm(ActivityForm):
    """A file, and the race that it is of."""

    is_own = True

    entry_of = forms.TypedChoiceField(label=gettext_lazy("Race"), coerce=int)
    field_order = ("entry_of", "file")


@require_http_methods(["GET", "HEAD", "POST"])
@own_runner
def files(request: HttpRequest, runner: Runner) -> HttpResponse:
    """Upload a file and preview its effect; then import it."""
    entries = _entries(runner)
    chosen = request.POST.get("entry_of")
    entry = next((each for each in entries if str(each.pk) == chosen), None)
    if entry is not None and "fixes" in request.POST:
        return _import(request, entry)
    if entry is not None and over_quota(f"files of {runner.pk}", MAX_FILES, PERIOD_S):
        messages.error(request, _("Too many requests. Try again in a moment."))
        return back_to("data")
    form = OwnActivityForm(request.POST or None, request.FILES or None, entry=entry)
    choice = form.fields["entry_of"]
    assert isinstance(choice, forms.TypedChoiceField)
    choice.choices = [(each.pk, each.race.name) for each in entries]
    form.is_valid()
    context = {"form": first_error_focused(form), "entries": entries, "entry": entry}
    return render(request, "runners/me/files.html", context)


def _entries(runner: Runner) -> list[Entry]:
    begun = runner.entries.shown().filter(
        race__start__lte=timezone.now() + WINDOW_BEFORE_START
    )
    rows = begun.select_related("race", "wave").defer("race__line")
    return list(rows.order_by("-race__start")[:MOST_RACES])


def _import(request: HttpRequest, entry: Entry) -> HttpResponse:
    try:
        plan = import_signed(entry, request.POST["fixes"], is_own=True)
    except FileError as error:
        messages.error(request, str(error))
    else:
        words = ngettext(
            "{count} position of the file is stored.",
            "{count} positions of the file are stored.",
            len(plan.fixes),
        )
        messages.success(request, words.format(count=len(plan.fixes)))
    return back_to("data")
