"""Columns and filters that all lists of runners share: liveness, contact, battery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runners.models import Entry, LatestPosition
from runners.rights.roles import organises_all, races_of

# The states of a signal by the age of the last fix. Older signals are lost.
LIMITS = (
    ("live", timedelta(seconds=30)),
    ("delayed", timedelta(minutes=2)),
    ("stale", timedelta(minutes=10)),
)
LOST, NEVER = "lost", "no fix yet"
# Each state has a shape as well as a colour.
SHAPES = {"live": "●", "delayed": "◐", "stale": "○", LOST: "◌", NEVER: "–"}
# The newest races that a filter offers.
MOST_RACES = 30


class RaceDayMedia:
    """The styles of liveness, for `Media`."""

    css = {"all": ("css/admin.css",)}


def liveness(recorded_at: datetime | None, now: datetime) -> str:
    """Return the state of a signal by the time of its last fix."""
    if recorded_at is None:
        return NEVER
    age = now - recorded_at
    return next((word for word, limit in LIMITS if age < limit), LOST)


def liveness_query(word: str, now: datetime, path: str) -> Q:
    """Return the condition for a state; `path` leads to the latest position."""
    recorded_at = f"{path}__recorded_at" if path else "recorded_at"
    if word == NEVER:
        return Q((f"{recorded_at}__isnull", True))
    condition = Q()
    younger: timedelta | None = None
    for name, limit in (*LIMITS, (LOST, None)):
        if name == word:
            if limit is not None:
                condition &= Q((f"{recorded_at}__gt", now - limit))
            if younger is not None:
                condition &= Q((f"{recorded_at}__lte", now - younger))
        younger = limit
    return condition


def ago(moment: datetime, now: datetime) -> str:
    """Format an age with one number, such as "12 s ago"."""
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < most * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds // 86400} days ago"


def ago_tag(moment: datetime | None) -> SafeString | str:
    """Format an age, with the exact time (UTC) as a tooltip."""
    if moment is None:
        return "never"
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        moment.isoformat(),
        moment.strftime("%Y-%m-%d %H:%M:%S"),
        ago(moment, timezone.now()),
    )


def race_day_columns(path: str) -> Sequence[Callable[[Any], Any]]:
    """Return the columns liveness, last contact, battery and app.

    `path` leads from a row to its latest position, "" if the row is one; the list has
    to `select_related` it.
    """
    steps = path.split("__") if path else []
    prefix = f"{path}__" if path else ""

    def latest_of(row: Any) -> LatestPosition | None:
        if isinstance(row, Entry) and not row.is_shown:
            return None
        for step in steps:
            # Runners without a fix have no row in this table.
            row = getattr(row, step, None)
        found: LatestPosition | None = row
        return found

    @admin.display(description="Liveness", ordering=f"{prefix}recorded_at")
    def signal(row: Model) -> SafeString:
        latest = latest_of(row)
        word = liveness(latest.recorded_at if latest else None, timezone.now())
        return format_html(
            '<span class="liveness" data-state="{}"><span aria-hidden="true">{}</span>'
            " {}</span>",
            word,
            SHAPES[word],
            word,
        )

    @admin.display(description="Last contact", ordering=f"{prefix}contact_at")
    def last_contact(row: Model) -> SafeString | str:
        latest = latest_of(row)
        return ago_tag(latest.contact_at if latest else None)

    @admin.display(description="Battery", ordering=f"{prefix}battery", empty_value="–")
    def battery(row: Model) -> str | None:
        latest = latest_of(row)
        if latest is None or latest.battery is None:
            return None
        return f"{latest.battery:.0f} %"

    @admin.display(description="App", ordering=f"{prefix}source", empty_value="–")
    def app(row: Model) -> str | None:
        latest = latest_of(row)
        return latest.source if latest else None

    return signal, last_contact, battery, app


class SignalsByRole(admin.ModelAdmin):  # type: ignore[type-arg]
    """Lists `signals`, columns and filters, for organisers of all races only.

    Others see signals at the desk, which has those of the time of its race.
    """

    signals: ClassVar[Sequence[Any]] = ()

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return self._permitted(request, super().get_list_display(request))

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return self._permitted(request, super().get_list_filter(request))

    def _permitted(self, request: HttpRequest, listed: Iterable[Any]) -> list[Any]:
        if organises_all(request.user):
            return list(listed)
        return [each for each in listed if each not in self.signals]


def liveness_filter(path: str) -> type[admin.SimpleListFilter]:
    """Return a list filter by liveness; `path` as for the columns."""

    class LivenessFilter(admin.SimpleListFilter):
        title = "liveness"
        parameter_name = "liveness"

        def lookups(
            self, request: HttpRequest, model_admin: Any
        ) -> Iterable[tuple[str, str]]:
            words = SHAPES if path else SHAPES.keys() - {NEVER}
            return [(word, word.capitalize()) for word in SHAPES if word in words]

        def queryset(
            self, request: HttpRequest, queryset: QuerySet[Any]
        ) -> QuerySet[Any]:
            word = self.value()
            if word not in SHAPES:
                return queryset
            return queryset.filter(liveness_query(word, timezone.now(), path))

    return LivenessFilter


def race_filter(path: str) -> type[admin.SimpleListFilter]:
    """Return a list filter by race, which is shown for a single race too.

    `path` leads from a row to its race.
    """

    class RaceFilter(admin.SimpleListFilter):
        title = "race"
        parameter_name = "race"

        def lookups(
            self, request: HttpRequest, model_admin: Any
        ) -> Iterable[tuple[str, str]]:
            races = races_of(request.user).order_by("-start")
            return list(races.values_list("slug", "name")[:MOST_RACES])

        def queryset(
            self, request: HttpRequest, queryset: QuerySet[Any]
        ) -> QuerySet[Any]:
            slug = self.value()
            return queryset.filter(**{f"{path}__slug": slug}) if slug else queryset

    return RaceFilter
