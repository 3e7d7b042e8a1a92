"""Retention: deletes old positions, by a command or once per day."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from shapely import LineString

from runners.models import Entry, LatestPosition, Position, RightsChange, Sos
from runners.units.earth import METRES_PER_DEGREE

# The greatest distance of deleted points from the line that is kept.
LINE_DETAIL_M = 10.0
# Rows per DELETE, so that no other writer waits long.
BATCH = 5_000
# `RightsChange` rows are not needed once every process has read them.
CHANGES_KEPT = timedelta(days=1)
# How long after a race the addresses of its start list are kept.
MAIL_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of a pruning."""

    before: datetime
    outside_races: bool
    runners: int
    deleted: int
    kept: int

    def __str__(self) -> str:
        where = " outside of races" if self.outside_races else ""
        return (
            f"{self.deleted:,} positions{where} of {self.runners:,} runners "
            f"from before {self.before:%Y-%m-%d %H:%M} UTC were deleted; "
            f"{self.kept:,} were kept for their line."
        )


def prune_as_set() -> list[Pruned]:
    """Delete the positions that are older than the settings allow.

    The mail addresses of start lists are deleted a day after their race.
    """
    over = Entry.objects.filter(race__ends__lt=timezone.now() - MAIL_KEPT)
    over.exclude(mail="").update(mail="")
    keep_line = settings.SPECTATE_KEEP_LINE
    pruned = []
    if days := settings.SPECTATE_RETENTION_DAYS:
        pruned.append(prune(days=days, keep_line=keep_line))
    if days := settings.SPECTATE_RETENTION_DAYS_OUTSIDE_RACES:
        pruned.append(prune(days=days, keep_line=keep_line, outside_races=True))
    return pruned


def prune(*, days: int, keep_line: bool, outside_races: bool = False) -> Pruned:
    """Delete positions recorded more than `days` ago; return what was deleted.

    With `outside_races`, those of the runner's race windows are kept; otherwise the
    latest position of each runner is. With `keep_line`, the points are kept that keep
    the track's line right within `LINE_DETAIL_M`.
    """
    before = timezone.now() - timedelta(days=days)
    RightsChange.objects.filter(created_at__lt=timezone.now() - CHANGES_KEPT).delete()
    old = Position.objects.filter(recorded_at__lt=before)
    runners = list(old.order_by().values_list("runner", flat=True).distinct())
    windows = _race_windows() if outside_races else {}
    deleted = kept = 0
    for runner in runners:
        rows = list(
            old.filter(runner=runner)
            .exclude(_within("recorded_at", windows.get(runner, ())))
            .order_by("recorded_at")
            .values_list("pk", "lat", "lng")
        )
        stay = needed(rows, LINE_DETAIL_M) if keep_line else set()
        go = [pk for pk, _, _ in rows if pk not in stay]
        for start in range(0, len(go), BATCH):
            Position.objects.filter(pk__in=go[start : start + BATCH]).delete()
        deleted += len(go)
        kept += len(stay)
    # Calls for help have a position as well.
    _delete_old(Sos.objects.filter(called_at__lt=before), "called_at", windows)
    if outside_races:
        latest = LatestPosition.objects.filter(recorded_at__lt=before)
        _delete_old(latest, "recorded_at", windows)
    return Pruned(before, outside_races, len(runners), deleted, kept)


def _race_windows() -> dict[int, list[tuple[datetime, datetime]]]:
    """Map runners to the windows of their races: from, until."""
    windows: dict[int, list[tuple[datetime, datetime]]] = {}
    for runner, opens, ends in Entry.objects.shown().windows():
        windows.setdefault(runner, []).append((opens, ends))
    return windows


def _within(field: str, windows: Iterable[tuple[datetime, datetime]]) -> Q:
    """Return the condition that a time lies in one of the windows."""
    within = Q(pk__in=())
    for window in windows:
        within |= Q(**{f"{field}__range": window})
    return within


def _delete_old(
    old: QuerySet[Sos] | QuerySet[LatestPosition],
    field: str,
    windows: Mapping[int, Iterable[tuple[datetime, datetime]]],
) -> None:
    """Delete the rows whose time is in no window of their runner."""
    for runner in set(old.values_list("runner", flat=True)):
        inside = _within(field, windows.get(runner, ()))
        old.filter(runner=runner).exclude(inside).delete()


def needed(rows: list[tuple[int, float, float]], detail: float) -> set[int]:
    """Return the keys of the (key, lat, lng) that a line within `detail` metres needs.

    Douglas and Peucker's method (1973), on a plane at the track's mean latitude.
    """
    if len(rows) < 3:
        return {key for key, _, _ in rows}
    scale = math.cos(math.radians(sum(lat for _, lat, _ in rows) / len(rows)))
    # The height carries the row's number through the simplification.
    line = LineString(
        [
            (lng * METRES_PER_DEGREE * scale, lat * METRES_PER_DEGREE, number)
            for number, (_, lat, lng) in enumerate(rows)
        ]
    )
    kept = line.simplify(detail, preserve_topology=False)
    return {rows[round(number)][0] for _, _, number in kept.coords}
