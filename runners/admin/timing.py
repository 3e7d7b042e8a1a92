"""Timing mats: stations and chips, and all passings with what became of each."""

from __future__ import annotations

import zoneinfo
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from runners.admin.by_role import ByRole, changes
from runners.admin.columns import race_filter
from runners.admin.position import BoundedPaginator, ReadOnlyAdmin
from runners.models import Checkpoint, Chip, Entry, Passing, Station
from runners.rights.roles import Action
from runners.timing.reads import code_of
from runners.timing.splits import mat_splits_update
from runners.timing.storage import passings_reassign


@admin.register(Passing)
class PassingAdmin(ReadOnlyAdmin):
    """Every passing as it came; filter by state to see those that are not used."""

    needs: ClassVar = {"view": Action.TIMES}
    list_display = ("local_time", "station", "chip", "bib", "state", "source", "raw")
    list_display_links = None
    list_select_related = ("station", "entry", "race")
    list_filter = (race_filter("race"), "state", "source")
    search_fields = ("=chip", "=entry__bib", "=station__name")
    search_help_text = "A chip as the decoder sends it, a bib, or a station."
    ordering = ("-pk",)
    sortable_by = ()
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Passing]:
        # The course's thousands of points are not needed.
        return super().get_queryset(request).defer("race__line")

    @admin.display(description="Time")
    def local_time(self, passing: Passing) -> str:
        if passing.time is None:
            return "–"
        local = passing.time.astimezone(zoneinfo.ZoneInfo(passing.race.timezone))
        return local.isoformat(" ", "milliseconds")

    @admin.display(description="Bib", empty_value="–")
    def bib(self, passing: Passing) -> str | None:
        return passing.entry.bib if passing.entry else None


class StationForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Station
        fields: ClassVar = ["race", "name", "checkpoints"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            choice: Any = self.fields["checkpoints"]
            choice.queryset = Checkpoint.objects.filter(race=self.instance.race_id)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        # It cannot be changed later. An invalid one is not in `cleaned`.
        race = self.instance.race if self.instance.pk else cleaned.get("race")
        stops = cleaned.get("checkpoints", ())
        if race and any(stop.race_id != race.pk for stop in stops):
            self.add_error("checkpoints", f"Choose checkpoints of {race}.")
        return cleaned


@admin.register(Station)
class StationAdmin(ByRole):
    """Where each mat lies. Unknown ones appear here with their first passing."""

    needs = changes(Action.TIMES, Action.TIMES)
    form = StationForm
    list_display = ("name", "lies_at", "passings", "race")
    list_filter = (race_filter("race"),)
    list_select_related = ("race",)
    search_fields = ("name",)
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        stations = super().get_queryset(request).defer("race__line")
        counted: QuerySet[Any] = stations.annotate(counted=Count("passings"))
        return counted.prefetch_related("checkpoints")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Station | None = None
    ) -> tuple[str, ...]:
        return ("race",) if obj else ()

    def save_related(
        self, request: HttpRequest, form: Any, formsets: Any, change: bool
    ) -> None:
        super().save_related(request, form, formsets, change)
        station: Station = form.instance
        entries = station.passings.exclude(entry=None)
        mat_splits_update(
            race=station.race, entries=set(entries.values_list("entry", flat=True))
        )

    @admin.display(description="Lies at")
    def lies_at(self, station: Station) -> str:
        names = [checkpoint.name for checkpoint in station.checkpoints.all()]
        return ", ".join(names) or "not known: choose a checkpoint"

    @admin.display(description="Passings", ordering="counted")
    def passings(self, station: Any) -> int:
        counted: int = station.counted
        return counted


class ChipForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Chip
        fields: ClassVar = ["race", "code", "entry"]

    def clean_code(self) -> str:
        return code_of(self.cleaned_data["code"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        race, entry = cleaned.get("race"), cleaned.get("entry")
        if race and entry and entry.race_id != race.pk:
            self.add_error("entry", f"Choose an entry of {race}.")
        return cleaned


@admin.register(Chip)
class ChipAdmin(ByRole):
    """Who carries which chip. A whole table is imported on the race's page."""

    needs = changes(Action.TIMES, Action.TIMES)
    form = ChipForm
    list_display = ("code", "bib", "runner", "race")
    list_select_related = ("entry__runner", "race")
    list_filter = (race_filter("race"),)
    search_fields = ("=code", "=entry__bib", "entry__runner__name")
    search_help_text = "A chip, or a bib or a runner's name."
    autocomplete_fields = ("race", "entry")
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chip]:
        return super().get_queryset(request).defer("race__line")

    def save_model(
        self, request: HttpRequest, obj: Chip, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        passings_reassign(race=obj.race)

    def delete_model(self, request: HttpRequest, obj: Chip) -> None:
        super().delete_model(request, obj)
        passings_reassign(race=obj.race)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Chip]) -> None:
        races = {chip.race for chip in queryset}
        super().delete_queryset(request, queryset)
        for race in races:
            passings_reassign(race=race)

    @admin.display(description="Bib", ordering="entry__bib")
    def bib(self, chip: Chip) -> str:
        return chip.entry.bib

    @admin.display(description="Runner", ordering="entry__runner__name")
    def runner(self, chip: Chip) -> str:
        entry: Entry = chip.entry
        return entry.runner.name
