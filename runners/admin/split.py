"""Splits: an organiser sets them by hand; mats and phones do not overwrite these."""

from __future__ import annotations

import zoneinfo
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runners.admin.by_role import ByRole, InlineByRole, changes
from runners.admin.columns import race_filter
from runners.admin.race_form import (
    RaceTimeField,
    on_the_clock_of,
    shown_on_the_clock_of,
)
from runners.models import Checkpoint, Race, Split
from runners.races.entries import splits_set
from runners.rights.roles import Action
from runners.timing.splits import estimates_renew


class SplitForm(forms.ModelForm):  # type: ignore[type-arg]
    """A time in the race's zone, to the second; changing it sets it by hand."""

    time = RaceTimeField(help_text="In the race's time zone.")

    class Meta:
        model = Split
        fields: ClassVar = ["checkpoint", "pass_number", "time"]

    def __init__(self, *args: Any, race: Race | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        race = race or self.instance.entry.race
        self._zone = zoneinfo.ZoneInfo(race.timezone)
        if "checkpoint" in self.fields:
            choice: Any = self.fields["checkpoint"]
            choice.queryset = Checkpoint.objects.filter(race=race)
        if self.instance.pk:
            self.initial["time"] = shown_on_the_clock_of(self._zone, self.instance.time)

    def clean_time(self) -> datetime | None:
        if self.instance.pk and "time" not in self.changed_data:
            kept: datetime = self.instance.time  # Include milliseconds.
            return kept
        return on_the_clock_of(self._zone, self.cleaned_data["time"])

    def save(self, commit: bool = True) -> Any:
        if self.has_changed():
            self.instance.by_hand = True
            self.instance.uncertainty = 0
        return super().save(commit)


class SplitFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """The splits of an entry, in the time zone of its race."""

    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        kwargs = super().get_form_kwargs(index)
        # The page that creates an entry has no inline.
        return {**kwargs, "race": self.instance.race}


class SplitColumns:
    @admin.display(description="Set by", ordering="by_hand")
    def set_by(self, split: Split) -> SafeString | str:
        if split.by_hand:
            return format_html('<strong class="by-hand">{}</strong>', "by hand")
        source = "file" if split.by_file else "phone"
        if split.by_mat:
            return f"mat{_beside(split, source)}"
        return f"{source}, ± {split.uncertainty / 2:.0f} s" if split.pk else "by hand"


def _beside(split: Split, source: str) -> str:
    """Return how far the time of a phone or file is from the mat's."""
    if split.phone_time is None:
        return ""
    seconds = (split.phone_time - split.time).total_seconds()
    return f", {source} {seconds:+.0f} s"


class SplitInline(SplitColumns, InlineByRole):
    needs = changes(Action.TIMES, Action.TIMES)
    model = Split
    form = SplitForm
    formset = SplitFormSet
    fields = ("checkpoint", "pass_number", "time", "set_by")
    readonly_fields = ("set_by",)
    ordering = ("time",)
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Split]:
        return super().get_queryset(request).select_related("checkpoint")


@admin.register(Split)
class SplitAdmin(SplitColumns, ByRole):
    """All splits; a missing one is added on its entry's page."""

    needs = changes(Action.TIMES, Action.TIMES)
    race_path = "entry__race"
    form = SplitForm
    list_display = (
        *("bib", "runner", "checkpoint", "pass_number", "local_time", "set_by"),
        "race",
    )
    list_display_links = ("bib", "local_time")
    list_select_related = ("entry__runner", "entry__race", "checkpoint")
    list_filter = (
        *(race_filter("entry__race"), "by_hand", "by_mat", "by_file"),
        "checkpoint__kind",
    )
    search_fields = ("=entry__bib", "entry__runner__name", "=entry__runner__code")
    search_help_text = "A bib, or a runner's name or code."
    ordering = ("-time",)
    list_per_page = 50
    fields = ("bib", "runner", "checkpoint", "pass_number", "time", "set_by")
    readonly_fields = ("bib", "runner", "set_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Split]:
        # The course's thousands of points are not needed.
        return super().get_queryset(request).defer("entry__race__line")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: Any
    ) -> None:
        super().save_model(request, obj, form, change)
        if form.has_changed():
            splits_set(splits=[obj])
            estimates_renew(race=obj.entry.race, entries=[obj.entry_id])

    @admin.display(description="Bib", ordering="entry__bib")
    def bib(self, split: Split) -> str:
        return split.entry.bib

    @admin.display(description="Runner", ordering="entry__runner__name")
    def runner(self, split: Split) -> str:
        return split.entry.runner.name

    @admin.display(description="Race", ordering="entry__race__start")
    def race(self, split: Split) -> str:
        return split.entry.race.name

    @admin.display(description="Time", ordering="time")
    def local_time(self, split: Split) -> str:
        zone = zoneinfo.ZoneInfo(split.entry.race.timezone)
        return f"{split.time.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
