from __future__ import annotations

import zoneinfo
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest

from runners.admin.by_role import ByRole, InlineByRole, changes
from runners.admin.columns import (
    RaceDayMedia,
    SignalsByRole,
    liveness_filter,
    race_day_columns,
    race_filter,
)
from runners.admin.split import SplitInline
from runners.models import Entry, News, Split, Wave
from runners.races.entries import entry_mark, splits_set
from runners.rights.roles import Action, may_somewhere, organises_all, races_of
from runners.timing.splits import estimates_renew


class EntryForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of an entry.

    It keeps the runner and the race, so that rows load no choices.
    """

    class Meta:
        model = Entry
        fields: ClassVar = [
            "bib",
            "race",
            "runner",
            "wave",
            "category",
            "club",
            "status",
            "shows_estimate",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            for name in {"race", "runner"} & self.fields.keys():
                chosen = getattr(self.instance, name)
                self.fields[name].disabled = True
                self.fields[name].widget = forms.Select(
                    choices=[(chosen.pk, str(chosen))]
                )
        if "wave" in self.fields and self.instance.race_id:
            wave: Any = self.fields["wave"]
            wave.queryset = Wave.objects.filter(race=self.instance.race_id)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        wave, race = cleaned.get("wave"), cleaned.get("race")
        if wave is not None and race is not None and wave.race_id != race.pk:
            self.add_error("wave", f"{race} has no such wave.")
        return cleaned

    def save(self, commit: bool = True) -> Any:
        if not self.instance.pk:
            # Entries by the race office need the runner's consent before they are
            # shown.
            self.instance.accepted = self.instance.runner.account_id is None
        return super().save(commit)


class EntryInline(InlineByRole):
    needs = changes(Action.VIEW, Action.ENTER)
    model = Entry
    form = EntryForm
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        entries = super().get_queryset(request).select_related("race", "runner")
        # The course's thousands of points are not needed.
        return entries.defer("race__line")


class EntriesOfRace(EntryInline):
    fields = ("bib", "runner", "wave", "category", "club", "status")
    autocomplete_fields = ("runner",)

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Offer the race's own waves, read once instead of once per row."""
        formset = super().get_formset(request, obj, **kwargs)
        waves = Wave.objects.filter(race=obj)
        wave: Any = formset.form.base_fields["wave"]
        wave.queryset = waves
        wave.choices = [("", "–"), *((wave.pk, wave.name) for wave in waves)]
        return formset


class EntriesOfRunner(EntryInline):
    fields = ("bib", "race")
    autocomplete_fields = ("race",)


@admin.register(Entry)
class EntryAdmin(SignalsByRole, ByRole):
    needs = changes(Action.VIEW, Action.ENTER)
    _columns = race_day_columns("runner__latest")
    _liveness = liveness_filter("runner__latest")
    signals: ClassVar = (*_columns, _liveness)
    form = EntryForm
    list_display = (
        *("bib", "runner", "status", "category", "wave", "is_accepted"),
        *_columns,
        "race",
    )
    list_display_links = ("bib", "runner")
    list_select_related = ("race", "wave", "runner__latest")
    list_filter = (
        race_filter("race"),
        "status",
        _liveness,
        "accepted",
    )
    # Sort bib 10 after bib 9.
    ordering = ("race__start", Length("bib"), "bib")
    search_fields = ("=bib", "runner__name", "=runner__code")
    autocomplete_fields = ("race", "runner")
    list_per_page = 50
    fields = (
        *("bib", "race", "runner", "wave", "category", "club", "status"),
        *("shows_estimate", "is_accepted", "chip"),
    )
    readonly_fields = ("is_accepted", "chip")
    actions = ("mark_started", "mark_finished", "mark_dnf", "mark_dns", "mark_dsq")
    Media = RaceDayMedia

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        # The course's thousands of points are not needed.
        return super().get_queryset(request).defer("race__line")

    def get_inlines(self, request: HttpRequest, obj: Entry | None) -> list[Any]:
        return [SplitInline] if obj else []

    def save_formset(
        self, request: HttpRequest, form: Any, formset: Any, change: Any
    ) -> None:
        super().save_formset(request, form, formset, change)
        if formset.model is Split:
            changed = (split for split, _ in formset.changed_objects)
            splits_set(splits=[*formset.new_objects, *changed])
            entry: Entry = form.instance
            estimates_renew(race=entry.race, entries=[entry.pk])

    def save_model(
        self, request: HttpRequest, obj: Entry, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        if form.has_changed():
            News.objects.tell_of_changes([obj])

    @admin.display(description="Accepted", ordering="accepted", empty_value="–")
    def is_accepted(self, entry: Entry) -> str | None:
        """Return whether the runner has agreed; None for one without an account."""
        if not entry.pk or entry.runner.account_id is None:
            return None
        return "yes" if entry.accepted else "not yet"

    @admin.display(description="Chip time, by the race's clock")
    def chip(self, entry: Entry) -> str:
        if not entry.pk:
            return "–"
        zone = zoneinfo.ZoneInfo(entry.race.timezone)
        started, finished, out = (
            f"{moment.astimezone(zone):%H:%M:%S}" if moment else "–"
            for moment in (entry.started_at, entry.finished_at, entry.out_at)
        )
        if entry.out_at:
            return f"started {started}, out since {out}"
        return f"started {started}, finished {finished}"

    def has_mark_permission(self, request: HttpRequest) -> bool:
        if organises_all(request.user):
            return self.has_change_permission(request)
        return may_somewhere(request.user, Action.STATUS)

    def _mark(
        self, request: HttpRequest, entries: QuerySet[Entry], status: Entry.Status
    ) -> None:
        races = races_of(request.user, Action.STATUS)
        marked = list(entries.filter(race__in=races))
        for entry in marked:
            entry_mark(entry=entry, status=status)
        self.message_user(request, f"{len(marked)} marked: {status.label.lower()}.")

    @admin.action(description="Mark as started", permissions=["mark"])
    def mark_started(self, request: HttpRequest, entries: QuerySet[Entry]) -> None:
        self._mark(request, entries, Entry.Status.STARTED)

    @admin.action(description="Mark as finished", permissions=["mark"])
    def mark_finished(self, request: HttpRequest, entries: QuerySet[Entry]) -> None:
        self._mark(request, entries, Entry.Status.FINISHED)

    @admin.action(description="Mark as did not finish", permissions=["mark"])
    def mark_dnf(self, request: HttpRequest, entries: QuerySet[Entry]) -> None:
        self._mark(request, entries, Entry.Status.DNF)

    @admin.action(description="Mark as did not start", permissions=["mark"])
    def mark_dns(self, request: HttpRequest, entries: QuerySet[Entry]) -> None:
        self._mark(request, entries, Entry.Status.DNS)

    @admin.action(description="Mark as disqualified", permissions=["mark"])
    def mark_dsq(self, request: HttpRequest, entries: QuerySet[Entry]) -> None:
        self._mark(request, entries, Entry.Status.DSQ)
