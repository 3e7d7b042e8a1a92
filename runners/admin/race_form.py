"""The forms of a race: its course as a file, its times in the race's time zone."""

from __future__ import annotations

import zoneinfo
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.forms.models import BaseInlineFormSet
from django.forms.utils import flatatt
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from runners.models import Race, Wave
from runners.models.race import timezones
from runners.races.arrival.learning import learn_past
from runners.races.arrival.results import MAX_BYTES as MAX_RESULTS_BYTES
from runners.races.arrival.results import ResultsError, read_results
from runners.races.arrival.slopes import Slopes
from runners.races.course import Course, Waypoint, waypoints_of_gpx
from runners.races.course_check import REPAIRS, repair_course
from runners.races.gpx_import import MAX_BYTES, CourseError
from runners.races.setup import DEFAULT_DURATION, length_problem, times_problem
from runners.serving.bodies import MIB, UPLOAD_LIMIT_BYTES


class RaceTimeField(forms.SplitDateTimeField):
    """A date and a time with the browser's own inputs.

    The admin's inputs have "now" and "today" buttons that use the site's time zone
    only.
    """

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.SplitDateTimeWidget(
            date_attrs={"type": "date"},
            date_format="%Y-%m-%d",
            # Include seconds, because saving a form would otherwise round a start.
            time_attrs={"type": "time", "step": "1"},
            time_format="%H:%M:%S",
        )
        super().__init__(widget=widget, **kwargs)


class LongSelect(forms.Select):
    """A select of hundreds of options.

    Django renders a template for each of them: 43 ms of CPU for the time zones, which
    take 9 ms here.
    """

    def render(
        self, name: str, value: Any, attrs: Any = None, renderer: Any = None
    ) -> SafeString:
        options = format_html_join(
            "\n",
            '<option value="{}"{}>{}</option>',
            (
                (key, flatatt({"selected": key == value}), label)
                for key, label in self.choices
            ),
        )
        attributes = self.build_attrs(self.attrs, {"name": name, **(attrs or {})})
        return format_html("<select{}>\n{}\n</select>", flatatt(attributes), options)


def on_the_clock_of(
    zone: zoneinfo.ZoneInfo, moment: datetime | None
) -> datetime | None:
    """Reinterpret a time, which the form parsed in the site's zone, in this zone."""
    if moment is None:
        return None
    return timezone.make_naive(moment).replace(tzinfo=zone)


def shown_on_the_clock_of(
    zone: zoneinfo.ZoneInfo, moment: datetime | None
) -> datetime | None:
    """Return the local time in a zone, to the second, for display in a form."""
    if moment is None:
        return None
    return moment.astimezone(zone).replace(tzinfo=None, microsecond=0)


class BytesField(forms.FileField):
    """A file that may be missing; cleans to its bytes, and reads at most the limit."""

    accept = ""
    limit = MAX_BYTES

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.FileInput(attrs={"accept": self.accept})
        super().__init__(required=False, widget=widget, **kwargs)

    def clean(self, data: Any, initial: Any = None) -> bytes:
        upload = super().clean(data, initial)
        content: bytes = upload.read(self.limit + 1) if upload else b""
        return content


class GpxField(BytesField):
    """A GPX file."""

    accept = ".gpx,application/gpx+xml"


class ResultsField(BytesField):
    """A CSV file of results."""

    accept = ".csv,text/csv"
    limit = MAX_RESULTS_BYTES


class RaceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A race with its course as a file; start and end are in the race's time zone."""

    timezone = forms.ChoiceField(
        choices=[(name, name) for name in sorted(timezones())],
        initial="UTC",
        widget=LongSelect,
        label="Time zone",
    )
    start = RaceTimeField(help_text="In the race's time zone.")
    ends = RaceTimeField(
        required=False,
        help_text=(
            "In the race's time zone. After this, no runner is visible because "
            "of this race. Empty: 48 h after the start."
        ),
    )
    gpx = GpxField(
        label="Course (GPX)",
        help_text=(
            "The file's first track, otherwise its first route, otherwise its "
            f"waypoints joined by lines; at most {UPLOAD_LIMIT_BYTES // MIB} MB. "
            "A new course replaces the checkpoints: start, finish, every 5 km "
            "(every 1 km under 10 km) and the file's waypoints."
        ),
    )
    mend = forms.MultipleChoiceField(
        required=False,
        choices=[(key, repair.label) for key, repair in REPAIRS.items()],
        widget=forms.CheckboxSelectMultiple,
        label="Mend the course",
        help_text=(
            "Problems of a file are shown after its upload. Each upload is mended "
            "as ticked here, and used as it is without a tick."
        ),
    )
    length = forms.FloatField(
        required=False,
        min_value=0,
        label="Length (m)",
        help_text=(
            "The certified length, such as 42195; all distances of the race are "
            "scaled to it. Empty: the length measured along the course."
        ),
        widget=forms.NumberInput(attrs={"step": "any"}),
    )
    results = ResultsField(
        label="Past results (CSV)",
        help_text=(
            "Results of this course from an earlier year, on which arrival "
            "times are then based. The header has distances in metres, the last "
            "one is the finish; a row has the times of one runner since their own "
            "start, in seconds or as h:mm:ss, empty where a split is missing. The "
            "file is not stored."
        ),
    )

    class Meta:
        model = Race
        fields: ClassVar = [
            *("name", "slug", "visibility", "timezone", "start", "ends"),
            *("length", "top_speed"),
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.course: Course | None = None
        self.waypoints: list[Waypoint] = []
        zone = zoneinfo.ZoneInfo(self.instance.timezone)
        for name in ("start", "ends"):
            moment = getattr(self.instance, name)
            if moment is not None:
                self.initial[name] = shown_on_the_clock_of(zone, moment)
        # Round to the centimetre, so that saving a form does not change the course.
        self.initial["length"] = round(self.instance.length, 2) or None

    def clean_gpx(self) -> bytes:
        content: bytes = self.cleaned_data["gpx"]
        if content:
            try:
                self.course = Course.from_gpx(content)
                self.waypoints = waypoints_of_gpx(content)
            except CourseError as error:
                raise forms.ValidationError(str(error)) from error
        return content

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self._clean_times(cleaned)
        if self.course is not None:
            self.course = repair_course(self.course, cleaned.get("mend", ()))
        elif cleaned.get("mend") and "gpx" not in self.errors:
            self.add_error("mend", "Upload the file again: it is mended as it is read.")
        if "gpx" in cleaned and "length" in cleaned:
            self._clean_length(cleaned)
        if cleaned.get("results") and not self.errors:
            self._learn(cleaned)
        return cleaned

    def _clean_times(self, cleaned: dict[str, Any]) -> None:
        zone = zoneinfo.ZoneInfo(cleaned.get("timezone") or "UTC")
        start = on_the_clock_of(zone, cleaned.get("start"))
        ends = on_the_clock_of(zone, cleaned.get("ends"))
        if start is None:
            return
        cleaned["start"] = start
        if "ends" in cleaned:
            cleaned["ends"] = ends or start + DEFAULT_DURATION
            if problem := times_problem(start, cleaned["ends"]):
                self.add_error("ends", problem)

    def _clean_length(self, cleaned: dict[str, Any]) -> None:
        """Return the length: entered, else kept, else measured."""
        course = self.course
        if "length" not in self.changed_data:
            # A certified or measured length of a different course is meaningless.
            cleaned["length"] = course.length if course else self.instance.length
            return
        if course is None and self.instance.line:
            course = Course(self.instance.line)
        measured = course.length if course else 0.0
        if not cleaned["length"]:
            cleaned["length"] = measured
        elif not measured:
            self.add_error(
                "length", "Upload the course first: the length is compared with it."
            )
        elif problem := length_problem(cleaned["length"], measured):
            self.add_error("length", problem)

    def _learn(self, cleaned: dict[str, Any]) -> None:
        points = self.course.points if self.course else self.instance.line
        if not points:
            self.add_error(
                "results", "Upload the course first, or together with the results."
            )
            return
        slopes = Slopes(Course(points, cleaned["length"]))
        name = str(getattr(self.files["results"], "name", ""))
        try:
            past = read_results(cleaned["results"])
            self.instance.pacing = learn_past(past, name, slopes).as_json()
        except ResultsError as error:
            self.add_error("results", str(error))


class WaveForm(forms.ModelForm):  # type: ignore[type-arg]
    """A wave, whose start is in the race's time zone."""

    start = RaceTimeField()

    class Meta:
        model = Wave
        fields: ClassVar = ["name", "start"]

    def __init__(self, *args: Any, zone: zoneinfo.ZoneInfo, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._zone = zone
        if self.instance.pk:
            self.initial["start"] = shown_on_the_clock_of(zone, self.instance.start)

    def clean_start(self) -> datetime | None:
        return on_the_clock_of(self._zone, self.cleaned_data["start"])


class WaveFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """Waves are read in the time zone of the race that is being saved."""

    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        try:
            zone = zoneinfo.ZoneInfo(self.instance.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            zone = zoneinfo.ZoneInfo("UTC")  # The race's own form reports the error.
        return {**super().get_form_kwargs(index), "zone": zone}
