from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from runners.admin.by_role import ByRole, NeverEdited
from runners.admin.columns import (
    RaceDayMedia,
    liveness_filter,
    race_day_columns,
    race_filter,
)
from runners.models import LatestPosition, Position
from runners.rights.roles import Action, AnyUser, races_of, seen_in_races

# Rows that the list of positions pages through; counting millions takes seconds.
COUNTED = 5_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages through the first rows only, so that no request counts the whole table."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows[:COUNTED].count()


class ReadOnlyAdmin(NeverEdited, ByRole):
    """Positions are shown here and never edited."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PositionsByRole(ReadOnlyAdmin):
    """Organisers see the positions that runners sent during their races."""

    needs: ClassVar = {"view": Action.POSITIONS}

    def rows_of(
        self, rows: QuerySet[Any], user: AnyUser, action: Action
    ) -> QuerySet[Any]:
        return seen_in_races(rows, races_of(user, action))


@admin.register(Position)
class PositionAdmin(PositionsByRole):
    """The newest stored fixes, most recent first; search by a runner's code."""

    list_display = (
        *("runner", "recorded", "stored", "lat", "lng"),
        *("accuracy", "speed", "battery", "source"),
    )
    list_select_related = ("runner",)
    search_fields = ("=runner__code", "=runner__name")
    search_help_text = (
        f"A runner's complete code or name. The newest {COUNTED:,} are listed."
    )
    # Sort by primary key, because sorting the whole table by any other column is slow.
    ordering = ("-pk",)
    sortable_by = ()
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50

    @admin.display(description="Recorded (UTC)")
    def recorded(self, position: Position) -> str:
        return _to_the_millisecond(position.recorded_at)

    @admin.display(description="Stored (UTC)")
    def stored(self, position: Position) -> str:
        return _to_the_millisecond(position.stored_at)


@admin.register(LatestPosition)
class LatestPositionAdmin(PositionsByRole):
    list_display = (
        "runner",
        *race_day_columns(""),
        "recorded",
        "lat",
        "lng",
        "accuracy",
        "speed",
    )
    list_select_related = ("runner",)
    list_filter = (
        liveness_filter(""),
        race_filter("runner__entries__race"),
        "source",
    )
    search_fields = ("=runner__code", "runner__name", "=runner__entries__bib")
    ordering = ("-contact_at",)
    list_per_page = 50
    Media = RaceDayMedia

    @admin.display(description="Recorded (UTC)", ordering="recorded_at")
    def recorded(self, latest: LatestPosition) -> str:
        return _to_the_millisecond(latest.recorded_at)


def _to_the_millisecond(moment: datetime) -> str:
    moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(" ", "milliseconds")
