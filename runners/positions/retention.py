"""Retention: deletes old positions, by a command or once per day."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from shapely import LineString

from runners.models import Position, RightsChange, Sos
from runners.units.earth import METRES_PER_DEGREE

# The greatest distance of deleted points from the line that is kept.
LINE_DETAIL_M = 10.0
# Rows per DELETE, so that no other writer waits long.
BATCH = 5_000
# `RightsChange` rows are not needed once every process has read them.
CHANGES_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of a pruning."""

    before: datetime
    runners: int
    deleted: int
    kept: int


def prune(*, days: int, keep_line: bool) -> Pruned:
    """Delete positions recorded more than `days` ago; return what was deleted.

    The latest position of each runner is kept. With `keep_line`, the points are kept
    that keep the track's line right within `LINE_DETAIL_M`.
    """
    before = timezone.now() - timedelta(days=days)
    RightsChange.objects.filter(created_at__lt=timezone.now() - CHANGES_KEPT).delete()
    # Calls for help have positions as well.
    Sos.objects.filter(called_at__lt=before).delete()
    old = Position.objects.filter(recorded_at__lt=before)
    runners = list(old.order_by().values_list("runner", flat=True).distinct())
    deleted = kept = 0
    for runner in runners:
        rows = list(
            old.filter(runner=runner)
            .order_by("recorded_at")
            .values_list("pk", "lat", "lng")
        )
        stay = needed(rows, LINE_DETAIL_M) if keep_line else set()
        go = [pk for pk, _, _ in rows if pk not in stay]
        for start in range(0, len(go), BATCH):
            Position.objects.filter(pk__in=go[start : start + BATCH]).delete()
        deleted += len(go)
        kept += len(stay)
    return Pruned(before, len(runners), deleted, kept)


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
