"""The items of runners and races in snapshots."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polyline
from django.utils import timezone

from runners.live.encoding import rows
from runners.models import Entry, LatestPosition, Position, Race, Runner
from runners.models.race import LONG_AGO
from runners.models.runner import RunnerQuerySet
from runners.positions.running import live_status
from runners.races.course import Course
from runners.rights.windows import public_from, visible_races
from runners.units.clock import milliseconds

# The length of the trails in a snapshot.
TRAIL = timedelta(minutes=5)
# Snapshots of more runners have no trails, because these would be most of their bytes.
TRAIL_RUNNERS = 100
# The fields of a runner's item that change with each fix, besides the trail.
OF_A_FIX = ("fix", "accuracy", "battery")
# The fields of an entry that its runner's item needs.
OF_AN_ENTRY = ("runner", "race", "bib", "status", "shows_estimate", "estimate")
# Limit of the points in trails. The newest are kept.
TRAIL_POINTS = 20_000


def find_races(slugs: Sequence[str], links: Collection[int] = ()) -> dict[str, int]:
    """Map slugs to the primary keys of the races that a holder of links may see.

    Causes one query.
    """
    # PostgreSQL refuses text with NUL characters.
    sound = [slug for slug in slugs if "\0" not in slug]
    races = visible_races(links)
    return dict(races.filter(slug__in=sound).values_list("slug", "pk"))


def fix_row(latest: LatestPosition) -> list[Any]:
    """Return a latest position as a row of `positions` without the runner's code."""
    return rows.fix_row(
        milliseconds(latest.recorded_at),
        latest.lat,
        latest.lng,
        latest.speed,
        latest.heading,
        latest.progress,
    )


def runner_items(
    runners: Iterable[int] | RunnerQuerySet,
    race: int | None = None,
    begins: Mapping[int, datetime] | None = None,
) -> dict[int, dict[str, Any]]:
    """Map primary keys of runners to their items in `runners` of a snapshot.

    Keys as in docs/protocol.md; `trail` is empty. Bib and state are those of the race,
    or else of each runner's current race, or of one that has lately ended. Positions
    from before `begins` (by default what everybody sees) are left out. Causes three
    queries, without `begins` five.
    """
    queryset = (
        runners
        if isinstance(runners, RunnerQuerySet)
        else Runner.objects.filter(pk__in=list(runners))
    )
    entries = Entry.objects.shown().filter(runner__in=queryset.values("pk"))
    if race is None:
        entries = entries.filter(race__in=visible_races().open_or_lately_over())
    else:
        entries = entries.filter(race=race)
    # The last race to start, if a runner is in several.
    ordered = list(entries.order_by("race__start").only(*OF_AN_ENTRY))
    # Read once, and not for each of thousands of runners.
    races = Race.objects.defer("line").in_bulk({entry.race_id for entry in ordered})
    entry_of = {}
    for entry in ordered:
        # It may have been deleted in between.
        if entry.race_id in races:
            entry.race = races[entry.race_id]
            entry_of[entry.runner_id] = entry
    found = list(queryset.select_related("latest"))
    if begins is None:
        begins = public_from([runner.pk for runner in found])
    return {
        runner.pk: _runner_item(
            runner, entry_of.get(runner.pk), begins.get(runner.pk, LONG_AGO)
        )
        for runner in found
    }


def _runner_item(
    runner: Runner, entry: Entry | None, begin: datetime
) -> dict[str, Any]:
    latest = getattr(runner, "latest", None)
    if latest is not None and latest.recorded_at < begin:
        latest = None
    if entry is not None and latest is not None and _runs_again(entry, latest):
        entry = None
    return {
        "code": runner.code,
        "name": runner.name,
        "bib": entry.bib if entry is not None else None,
        "colour": runner.colour,
        "state": None if entry is None else live_status(entry, latest),
        "fix": None if latest is None else fix_row(latest),
        "accuracy": _rounded(latest and latest.accuracy),
        "battery": _rounded(latest and latest.battery),
        "trail": "",
        "race": entry.race.slug if entry is not None else None,
        "estimate": entry and _estimate(entry, begin),
    }


def _runs_again(entry: Entry, latest: LatestPosition) -> bool:
    """Return whether a runner who has not finished was seen after the race's end."""
    finished = entry.status == Entry.Status.FINISHED
    return not finished and latest.recorded_at > entry.race.ends


def _estimate(entry: Entry, begin: datetime) -> dict[str, Any] | None:
    """Return where mats let expect a runner, if this may be shown."""
    estimate: dict[str, Any] | None = entry.estimate
    if (
        estimate is None
        or not entry.shows_estimate
        or entry.status != Entry.Status.STARTED
        or estimate["t"] < milliseconds(begin)
    ):
        return None
    return estimate


def without_fix(item: dict[str, Any]) -> dict[str, Any]:
    """Return a runner's item without their position, and without an estimate of it."""
    return item | dict.fromkeys(OF_A_FIX) | {"trail": "", "estimate": None}


def shown_from(item: dict[str, Any], begin: int) -> dict[str, Any]:
    """Return a runner's item for a viewer who sees them from a time (ms) on."""
    fix, estimate = item["fix"], item["estimate"]
    if fix is not None and fix[0] < begin:
        item = item | dict.fromkeys(OF_A_FIX) | {"trail": ""}
    if estimate is not None and estimate["t"] < begin:
        item = item | {"estimate": None}
    return item


def oldest_time(item: dict[str, Any]) -> float:
    """Return the time from which a viewer must see a runner to get the whole item."""
    fix, estimate = item["fix"], item["estimate"]
    times = [fix and fix[0], estimate and estimate["t"]]
    return min((time for time in times if time is not None), default=math.inf)


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def add_trails(
    items: Mapping[int, dict[str, Any]], begins: Mapping[int, datetime] | None = None
) -> dict[int, datetime]:
    """Add the trail of the last minutes to each item, as `runner_items` does fixes.

    Returns the times of the oldest points. Causes one query, without `begins` three.
    """
    oldest: dict[int, datetime] = {}
    if not 0 < len(items) <= TRAIL_RUNNERS:
        return oldest
    if begins is None:
        begins = public_from(items)
    trails: dict[int, list[tuple[float, float]]] = {pk: [] for pk in items}
    places = (
        Position.objects.filter(
            runner__in=list(items),
            recorded_at__gte=timezone.now() - TRAIL,
            held=False,
        )
        .order_by("-recorded_at")
        .values_list("runner_id", "recorded_at", "lat", "lng")[:TRAIL_POINTS]
    )
    for pk, recorded_at, lat, lng in reversed(list(places)):
        if recorded_at >= begins.get(pk, LONG_AGO):
            trails[pk].append((lat, lng))
            oldest.setdefault(pk, recorded_at)
    for pk, trail in trails.items():
        if trail:
            items[pk]["trail"] = polyline.encode(trail, 5)
    return oldest


def race_item(pk: int) -> dict[str, Any]:
    """Return the item of a race in `races` of a snapshot (keys as in docs/protocol.md).

    Causes two queries; raises `Race.DoesNotExist`.
    """
    race = Race.objects.get(pk=pk)
    course = Course(race.line, length=race.length) if race.line else None
    return {
        "slug": race.slug,
        "name": race.name,
        "start": milliseconds(race.start),
        "ends": milliseconds(race.ends),
        "course": {
            "line": course.encoded_line() if course else "",
            "length": round(race.length, 1),
        },
        "checkpoints": [
            {
                "id": checkpoint.pk,
                "name": checkpoint.name,
                "distance": checkpoint.distance,
                "kind": checkpoint.kind,
                "lat": place[0] if place else None,
                "lng": place[1] if place else None,
            }
            for checkpoint in race.checkpoints.all()
            for place in (course.point_at(checkpoint.distance) if course else None,)
        ],
    }
