"""The items of runners and races in snapshots."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypedDict

import msgspec
import polyline
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone

from runners.live.encoding import messages, rows
from runners.models import Entry, LatestPosition, Position, Race, Runner
from runners.models.race import LONG_AGO, NEVER
from runners.models.runner import RunnerQuerySet
from runners.positions.running import live_status
from runners.races.race_data import ground_of
from runners.rights.windows import public_from, visible_races
from runners.units.clock import milliseconds

Item = messages.Runner
# By the runners' primary keys.
Items = dict[int, Item]

# The length of the trails in a snapshot.
TRAIL = timedelta(minutes=5)
# Snapshots of more runners have no trails, because these would be most of their bytes.
TRAIL_RUNNERS = 100
# The columns of `Shown`. An estimate is text, parsed only for those who are shown it.
OF_AN_ENTRY = ("pk", "runner", "race", "bib", "status", "shows_estimate", "as_text")
ESTIMATE_AS_TEXT = Cast("estimate", TextField())
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


def fix_row(latest: LatestPosition) -> rows.FixRow:
    """Return a latest position as a row of `positions` without the runner's code."""
    return rows.fix_row(
        milliseconds(latest.recorded_at),
        latest.lat,
        latest.lng,
        latest.speed,
        latest.heading,
        latest.progress,
    )


class Estimate(TypedDict):
    """Where a runner is expected, as in docs/protocol.md."""

    t: int
    checkpoint: int
    nodes: tuple[rows.EstimateNode, ...]


estimate_decoder: msgspec.json.Decoder[Estimate | None] = msgspec.json.Decoder(
    Estimate | None
)


class Shown(NamedTuple):
    """An entry that a race shows, and its estimate as JSON."""

    pk: int
    runner: int
    race: Race
    bib: str
    status: str
    shows_estimate: bool
    estimate: str | None


def runner_items(
    runners: Iterable[int] | RunnerQuerySet,
    race: int | None = None,
    begins: Mapping[int, datetime] | None = None,
) -> Items:
    """Map primary keys of runners to their items in `runners` of a snapshot.

    Keys as in docs/protocol.md; `trail` is empty. Bib and state are those of the race,
    or else of each runner's current race, or of one that has lately ended. Positions
    from before `begins` (by default what everybody sees) are left out. Causes four
    queries, without `begins` seven. A runner without a phone takes 25 us: no model
    instances are made of them, which would take 100 us.
    """
    queryset = (
        runners
        if isinstance(runners, RunnerQuerySet)
        else Runner.objects.filter(pk__in=list(runners))
    )
    entry_of = _shown_entries(queryset, race)
    # Most of a race's runners may have no phone.
    latest_of = LatestPosition.objects.filter(
        runner__in=queryset.values("pk")
    ).in_bulk()
    # Whoever becomes visible, or is entered, between two queries is shown by the next
    # snapshot.
    otherwise = NEVER if begins is None else LONG_AGO
    if begins is None:
        begins = public_from(queryset)
    found = queryset.order_by().values_list("pk", "code", "name", "colour")
    return {
        row[0]: _item(
            row,
            entry_of.get(row[0]),
            latest_of.get(row[0]),
            begins.get(row[0], otherwise),
        )
        for row in found
        if race is None or row[0] in entry_of
    }


def _shown_entries(runners: RunnerQuerySet, race: int | None) -> dict[int, Shown]:
    """Map runners to their entries in a race, or else in the last one to start."""
    entries = Entry.objects.shown().filter(runner__in=runners.values("pk"))
    if race is None:
        entries = entries.filter(race__in=visible_races().open_or_lately_over())
    else:
        entries = entries.filter(race=race)
    rows = list(
        entries.order_by("race__start")
        .annotate(as_text=ESTIMATE_AS_TEXT)
        .values_list(*OF_AN_ENTRY)
    )
    races = Race.objects.defer("line").in_bulk({race for _, _, race, *_ in rows})
    return {
        runner: Shown(pk, runner, races[race], *fields)
        for pk, runner, race, *fields in rows
        # It may have been deleted in between.
        if race in races
    }


def _item(
    row: tuple[int, str, str, str],
    entry: Shown | None,
    latest: LatestPosition | None,
    begin: datetime,
) -> Item:
    """Return a runner's item; `row` has the primary key, code, name and colour."""
    if latest is not None and latest.recorded_at < begin:
        latest = None
    if entry is not None and latest is not None and _runs_again(entry, latest):
        entry = None
    _, code, name, colour = row
    return {
        "code": code,
        "name": name,
        "colour": colour,
        "bib": entry and entry.bib,
        "state": entry and live_status(entry.pk, entry.status, latest),
        "fix": None if latest is None else fix_row(latest),
        "accuracy": _rounded(None if latest is None else latest.accuracy),
        "battery": _rounded(None if latest is None else latest.battery),
        "trail": "",
        "race": entry and entry.race.slug,
        "estimate": entry and _estimate(entry, begin),
    }


def _runs_again(entry: Shown, latest: LatestPosition) -> bool:
    """Return whether a runner who has not finished was seen after the race's end."""
    finished = entry.status == Entry.Status.FINISHED
    return not finished and latest.recorded_at > entry.race.ends


def _estimate(entry: Shown, begin: datetime) -> Estimate | None:
    """Return where mats let expect a runner, if this may be shown."""
    if (
        entry.estimate is None
        or not entry.shows_estimate
        or entry.status != Entry.Status.STARTED
    ):
        return None
    estimate = estimate_decoder.decode(entry.estimate)
    if estimate is None or estimate["t"] < milliseconds(begin):
        return None
    return estimate


def without_fix(item: Item) -> Item:
    """Return a runner's item without their position and the trail."""
    return {**item, "fix": None, "accuracy": None, "battery": None, "trail": ""}


def without_place(item: Item) -> Item:
    """Return a runner's item without their position, and without an estimate of it."""
    return {**without_fix(item), "estimate": None}


def shown_from(item: Item, begin: int) -> Item:
    """Return a runner's item for a viewer who sees them from a time (ms) on."""
    fix, estimate = item["fix"], item["estimate"]
    if fix is not None and fix[0] < begin:
        item = without_fix(item)
    if estimate is not None and estimate["t"] < begin:
        item = {**item, "estimate": None}
    return item


def oldest_time(item: Item) -> float:
    """Return the time from which a viewer must see a runner to get the whole item."""
    fix, estimate = item["fix"], item["estimate"]
    times = [fix and fix[0], estimate and estimate["t"]]
    return min((time for time in times if time is not None), default=math.inf)


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def add_trails(
    items: Items, begins: Mapping[int, datetime] | None = None
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


def race_item(pk: int) -> messages.Race:
    """Return the item of a race in `races` of a snapshot (keys as in docs/protocol.md).

    Causes two queries, more after a change; raises `Race.DoesNotExist`.
    """
    race = Race.objects.defer("line").get(pk=pk)
    ground = ground_of(race)
    course = ground.course
    return {
        "slug": race.slug,
        "name": race.name,
        "start": milliseconds(race.start),
        "ends": milliseconds(race.ends),
        "course": {
            "line": course.encoded if course else "",
            "length": round(race.length, 1),
        },
        "checkpoints": [
            {
                "id": stop.pk,
                "name": stop.name,
                "distance": stop.distance,
                "kind": stop.kind,
                "lat": place[0] if place else None,
                "lng": place[1] if place else None,
            }
            for stop in ground.stops
            for place in (course.point_at(stop.distance) if course else None,)
        ],
    }
