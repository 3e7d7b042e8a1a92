from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest

from runners.admin.columns import (
    RaceDayMedia,
    liveness_filter,
    race_day_columns,
    race_filter,
)
from runners.models import Entry


class EntryForm(forms.ModelForm):  # type: ignore[type-arg]
    """An entry stays with its runner and race, so a row asks for no choices."""

    class Meta:
        model = Entry
        fields: ClassVar = ["bib", "race", "runner"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            for name in {"race", "runner"} & self.fields.keys():
                chosen = getattr(self.instance, name)
                self.fields[name].disabled = True
                self.fields[name].widget = forms.Select(
                    choices=[(chosen.pk, str(chosen))]
                )


class EntryInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Entry
    form = EntryForm
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        entries = super().get_queryset(request).select_related("race", "runner")
        # Without the thousands of points of the course.
        return entries.defer("race__line")


class EntriesOfRace(EntryInline):
    fields = ("bib", "runner")
    autocomplete_fields = ("runner",)


class EntriesOfRunner(EntryInline):
    fields = ("bib", "race")
    autocomplete_fields = ("race",)


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = EntryForm
    list_display = ("bib", "runner", *race_day_columns("runner__latest"), "race")
    list_display_links = ("bib", "runner")
    list_select_related = ("race", "runner__latest")
    list_filter = (race_filter("race"), liveness_filter("runner__latest"))
    # Bib 10 comes after bib 9.
    ordering = ("race__start", Length("bib"), "bib")
    search_fields = ("=bib", "runner__name", "=runner__code")
    autocomplete_fields = ("race", "runner")
    list_per_page = 50
    Media = RaceDayMedia

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        # Without the thousands of points of the course.
        return super().get_queryset(request).defer("race__line")
