from __future__ import annotations

import zoneinfo
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import InlineModelAdmin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runners.admin.columns import RaceDayMedia
from runners.admin.entry import EntriesOfRace
from runners.models import Checkpoint, Entry, Race
from runners.races.course import Course, Waypoint, waypoints_of_gpx
from runners.races.gpx import MAX_BYTES, CourseError
from runners.races.setup import DEFAULT_DURATION, race_set_course

# Start lists longer than this have a page of their own: a form with thousands of rows
# is slow, and Django refuses what it sends.
INLINE_ENTRIES = 100


class RaceTimeField(forms.SplitDateTimeField):
    """A date and a time by the browser's own inputs.

    The admin's have "now" and "today" buttons that know the site's zone only.
    """

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.SplitDateTimeWidget(
            date_attrs={"type": "date"},
            date_format="%Y-%m-%d",
            # To the second, else saving a form would round a start.
            time_attrs={"type": "time", "step": "1"},
            time_format="%H:%M:%S",
        )
        super().__init__(widget=widget, **kwargs)


class RaceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A race with its course as a file; start and end are read in the race's zone."""

    timezone = forms.ChoiceField(
        choices=[(name, name) for name in sorted(zoneinfo.available_timezones())],
        initial="UTC",
        label="Time zone",
    )
    start = RaceTimeField(help_text="In the race's time zone.")
    ends = RaceTimeField(
        required=False,
        help_text=(
            "In the race's time zone. Nobody is shown for this race any longer. "
            "Empty: 48 h after the start."
        ),
    )
    gpx = forms.FileField(
        required=False,
        label="Course (GPX)",
        help_text=(
            "The first track of the file, else its first route. A new course replaces "
            "the checkpoints: start, finish, every 5 km (every 1 km under 10 km) and "
            "the file's waypoints."
        ),
        widget=forms.FileInput(attrs={"accept": ".gpx,application/gpx+xml"}),
    )

    class Meta:
        model = Race
        fields: ClassVar = ["name", "slug", "timezone", "start", "ends"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.course: Course | None = None
        self.waypoints: list[Waypoint] = []
        for name in ("start", "ends"):
            moment = getattr(self.instance, name)
            if moment is not None:
                zone = zoneinfo.ZoneInfo(self.instance.timezone)
                self.initial[name] = moment.astimezone(zone).replace(tzinfo=None)

    def clean_gpx(self) -> Any:
        upload = self.cleaned_data["gpx"]
        if not upload:
            return upload
        try:
            # Not a byte more than the limit needs to show that it is exceeded.
            content = upload.read(MAX_BYTES + 1)
            self.course = Course.from_gpx(content)
            self.waypoints = waypoints_of_gpx(content)
        except CourseError as error:
            raise forms.ValidationError(str(error)) from error
        return upload

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        zone = zoneinfo.ZoneInfo(cleaned.get("timezone") or "UTC")
        start = _on_the_clock_of(zone, cleaned.get("start"))
        ends = _on_the_clock_of(zone, cleaned.get("ends"))
        if start is None:
            return cleaned
        cleaned["start"] = start
        if "ends" in cleaned:
            cleaned["ends"] = ends or start + DEFAULT_DURATION
            if cleaned["ends"] <= start:
                self.add_error("ends", "A race ends after its start.")
        return cleaned


def _on_the_clock_of(
    zone: zoneinfo.ZoneInfo, moment: datetime | None
) -> datetime | None:
    """Take what the clock showed, which the form read as the site's zone, as there."""
    if moment is None:
        return None
    return timezone.make_naive(moment).replace(tzinfo=zone)


class CheckpointInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Checkpoint
    fields = ("name", "distance", "kind")
    ordering = ("distance",)
    extra = 0


@admin.register(Race)
class RaceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = RaceForm
    list_display = (
        *("name", "starts", "course_length", "checkpoint_count"),
        *("start_list", "live_page"),
    )
    list_filter = (("start", admin.DateFieldListFilter),)
    search_fields = ("name", "slug")
    ordering = ("-start",)
    fields = (
        *("name", "slug", "timezone", "start", "ends"),
        *("gpx", "course_length", "start_list"),
    )
    readonly_fields = ("course_length", "start_list")
    prepopulated_fields: ClassVar = {"slug": ("name",)}
    Media = RaceDayMedia

    def get_queryset(self, request: HttpRequest) -> QuerySet[Race]:
        # Of the line itself, thousands of points a race, neither page needs anything.
        races: QuerySet[Race] = super().get_queryset(request)
        return races.defer("line").annotate(
            checkpoints_in_all=_count_of(Checkpoint), entries_in_all=_count_of(Entry)
        )

    def get_inlines(
        self, request: HttpRequest, obj: Race | None
    ) -> list[type[InlineModelAdmin[Any, Any]]]:
        inlines: list[type[InlineModelAdmin[Any, Any]]] = [CheckpointInline]
        if obj is None or obj.entries.count() <= INLINE_ENTRIES:
            inlines.append(EntriesOfRace)
        return inlines

    def save_related(
        self,
        request: HttpRequest,
        form: Any,
        formsets: list[BaseInlineFormSet[Any, Any, Any]],
        change: bool,
    ) -> None:
        super().save_related(request, form, formsets, change)
        if form.course is not None:
            checkpoints = race_set_course(
                race=form.instance, course=form.course, waypoints=form.waypoints
            )
            self.message_user(
                request,
                f"The course is {_kilometres(form.course.length)} long and has "
                f"{len(checkpoints)} checkpoints.",
                messages.SUCCESS,
            )

    def view_on_site(self, obj: Race) -> str:
        return reverse("race", args=[obj.slug])

    @admin.display(description="Start", ordering="start")
    def starts(self, race: Race) -> str:
        zone = zoneinfo.ZoneInfo(race.timezone)
        return race.start.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")

    @admin.display(description="Length", ordering="length")
    def course_length(self, race: Race) -> str:
        return _kilometres(race.length) if race.length else "no course yet"

    @admin.display(description="Checkpoints", ordering="checkpoints_in_all")
    def checkpoint_count(self, race: Any) -> int:
        count: int = race.checkpoints_in_all
        return count

    @admin.display(description="Start list", ordering="entries_in_all")
    def start_list(self, race: Any) -> SafeString | str:
        if race.pk is None:
            return "–"
        return format_html(
            '<a href="{}?{}">{} entered</a>',
            reverse("admin:runners_entry_changelist"),
            urlencode({"race": race.slug}),
            race.entries_in_all,
        )

    @admin.display(description="Live page")
    def live_page(self, race: Race) -> SafeString:
        url = self.view_on_site(race)
        return format_html('<a href="{}">{}</a>', url, url)


def _count_of(model: type[Checkpoint | Entry]) -> Coalesce:
    """Count a race's rows in a subquery: two joins at once would multiply."""
    rows = model._default_manager.filter(race=OuterRef("pk")).order_by()
    counted = rows.values("race").annotate(in_all=Count("pk")).values("in_all")
    return Coalesce(Subquery(counted), 0)


def _kilometres(metres: float) -> str:
    return f"{metres / 1000:.2f} km"
