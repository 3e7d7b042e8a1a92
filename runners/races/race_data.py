"""Reads the input of arrival and standings from the database: plain rows."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce

from runners.models import Entry, LatestPosition, Position, Race, Split
from runners.races.arrival.eta import Known
from runners.races.arrival.pacing import Prior, shipped
from runners.races.arrival.ranges import RECENT_S, Curve, Passed
from runners.races.arrival.slopes import Slopes
from runners.races.course import Course
from runners.races.progress import State
from runners.races.splits import Mark, passes_of
from runners.races.standings import Row, SplitTime

logger = logging.getLogger(__name__)

# Limit of cached courses. A mountain race takes some MB.
COURSES_KEPT = 8
# A position is usable for a moment up to this age.
NEAR = timedelta(seconds=200)
# Width of the time after the gun in which an undetected start happened.
START_DOUBT_S = 120.0
# The doubt of a fix: half the range is 3 s wide, and errors of phones are some metres.
FIX_DOUBT_S = 8.0
# The newest position of each runner at each moment. As a queryset it has a subquery per
# moment, and building these takes a third of the CPU time of a prediction.
NEWEST_AT_MOMENTS = (
    "WITH moments (since, until) AS (VALUES {moments})"
    " SELECT (SELECT p.id FROM runners_position p WHERE p.runner_id = l.runner_id"
    " AND p.recorded_at > m.since AND p.recorded_at <= m.until"
    " AND p.progress IS NOT NULL AND NOT p.held ORDER BY p.recorded_at DESC LIMIT 1)"
    " FROM runners_latestposition l CROSS JOIN moments m"
    " WHERE l.runner_id IN ({runners}) AND l.recorded_at >= %s"
)


@dataclass(frozen=True)
class Stop:
    """A checkpoint."""

    pk: int
    name: str
    distance: float
    kind: str


@dataclass(frozen=True)
class Ground:
    """The data of a race that does not change while it runs.

    Without a course, `course` and `slopes` are None. `passes` maps checkpoints (primary
    key, pass number) to metres along the course; `prior` is learned from past results.
    """

    stops: tuple[Stop, ...]
    passes: dict[tuple[int, int], float]
    course: Course | None
    slopes: Slopes | None
    prior: Prior


def ground_of(race: Race) -> Ground:
    """Return the ground of a race; rebuilt when course or checkpoints change.

    Causes one query; building takes up to half a second.
    """
    rows = race.checkpoints.order_by("distance", "pk")
    stops = tuple(
        Stop(*row) for row in rows.values_list("pk", "name", "distance", "kind")
    )
    return _kept_ground(race.pk, race.changed_at, stops)


@lru_cache(maxsize=COURSES_KEPT)
def _kept_ground(race: int, changed_at: datetime, stops: tuple[Stop, ...]) -> Ground:
    row = Race.objects.get(pk=race)
    own = {(stop.pk, 1): stop.distance for stop in stops}
    prior = prior_of(row)
    if not row.line:
        return Ground(stops, own, None, None, prior)
    course = Course(row.line, row.length)
    marks = [Mark(stop.pk, stop.distance, stop.kind) for stop in stops]
    passes = {(p.mark, p.pass_number): p.distance for p in passes_of(course, marks)}
    return Ground(stops, passes, course, Slopes(course), prior)


def known_of(
    row: Row,
    samples: Sequence[Passed],
    ground: Ground,
    now: datetime,
    curve: Curve | None = None,
) -> Known:
    """Return what is known of an entry at a time; the race has a course."""
    assert ground.slopes is not None
    return Known(
        samples,
        ground.slopes,
        ground.prior,
        now.timestamp(),
        row.last_fix_at,
        row.status,
        curve,
    )


def prior_of(race: Race) -> Prior:
    """Return what was learned for a race, or the default if it cannot be used."""
    if not race.pacing:
        return shipped()
    try:
        return Prior.from_json(race.pacing)
    except (KeyError, TypeError, ValueError):
        logger.warning(
            "The past results of race %s were learned from by a different version. "
            "Upload them again; until then the default is used.",
            race.slug,
        )
        return shipped()


def rows_of(
    race: Race, ground: Ground, runners: Collection[int] | None = None
) -> list[Row]:
    """Return the entries of a race, or those of some runners. Causes three queries."""
    entries = Entry.objects.filter(race=race)
    splits = Split.objects.filter(entry__race=race)
    if runners is not None:
        entries = entries.filter(runner__in=runners)
        splits = splits.filter(entry__runner__in=runners)
    split_times = _split_times(splits, ground)
    start = {stop.pk for stop in ground.stops if stop.kind == "start"}
    finish = {stop.pk for stop in ground.stops if stop.kind == "finish"}
    latest = _latest_of(entries.shown(), race)
    rows = []
    for (
        entry, runner, code, name, colour, bib, category, club, wave, gun, status,
        started_at, finished_at, out_at, account, shown_from, shown_until,
    ) in entries.annotate(start=Coalesce("wave__start", "race__start")).values_list(
        "pk", "runner", "runner__code", "runner__name", "runner__colour", "bib",
        "category", "club", "wave__name", "start", "status", "started_at",
        "finished_at", "out_at", "runner__account", "shown_from", "shown_until",
    ):  # fmt: skip
        own = sorted(split_times.get(entry, ()), key=_by_distance)
        progress, at, off_course_of = latest.get(runner, (None, None, None))
        here = at is not None and at >= gun
        if here and account is not None:
            here = shown_from <= at < shown_until
        rows.append(
            Row(
                entry=entry,
                runner=runner,
                code=code,
                name=name,
                colour=colour,
                bib=bib,
                category=category,
                club=club,
                wave=wave or "",
                status=status,
                gun=gun.timestamp(),
                started=_moment(started_at, own, start),
                finished=_moment(finished_at, own, finish),
                out=out_at.timestamp() if out_at else None,
                is_off_course=status == Entry.Status.STARTED and off_course_of == entry,
                progress=progress if here else None,
                progress_at=at.timestamp()
                if at is not None and here and progress is not None
                else None,
                last_fix_at=at.timestamp() if at is not None and here else None,
                splits=tuple(own),
            )
        )
    return _with_last_certain(rows)


def _split_times(splits: QuerySet[Split], ground: Ground) -> dict[int, list[SplitTime]]:
    """Map entries to their splits whose pass the course still has."""
    split_times: dict[int, list[SplitTime]] = {}
    for (
        entry, checkpoint, number, time, uncertainty, by_hand, by_mat, by_file,
    ) in splits.values_list(
        "entry", "checkpoint", "pass_number", "time", "uncertainty", "by_hand",
        "by_mat", "by_file",
    ):  # fmt: skip
        distance = ground.passes.get((checkpoint, number))
        if distance is not None:
            split_times.setdefault(entry, []).append(
                SplitTime(
                    checkpoint,
                    number,
                    distance,
                    time.timestamp(),
                    uncertainty,
                    by_hand,
                    by_file and not (by_hand or by_mat),
                )
            )
    return split_times


def _latest_of(entries: QuerySet[Entry], race: Race) -> dict[int, tuple[Any, Any, Any]]:
    """Map runners to their progress, its time, and the entry that is off course.

    A race gets no positions of runners who have not accepted their entry.
    """
    # The phone may have been in a different race since, or never in this one.
    return {
        runner: (progress, at, state == "off_course" and of)
        for runner, progress, at, state, of in LatestPosition.objects.filter(
            runner__in=entries.values("runner"),
            recorded_at__lte=race.ends,
        ).values_list(
            *("runner", "progress", "recorded_at"),
            *("race_state__state__s", "race_state__entry"),
        )
    }


def _by_distance(split: SplitTime) -> tuple[float, float]:
    return split.distance, split.time


def _moment(
    stored: datetime | None, splits: Iterable[SplitTime], at: Collection[int]
) -> float | None:
    """Return when a runner passed the start or the finish. Times set by hand win."""
    there = [split for split in splits if split.checkpoint in at]
    by_hand = [split.time for split in there if split.by_hand]
    if by_hand:
        return by_hand[-1]
    if stored is not None:
        return stored.timestamp()
    return there[-1].time if there else None


def _with_last_certain(rows: list[Row]) -> list[Row]:
    """Fill in the last certain progress of runners who are off course or held."""
    unsure = [
        row.runner
        for row in rows
        if row.status == Entry.Status.STARTED
        and row.last_fix_at
        and row.progress is None
    ]
    if not unsure:
        return rows
    carried = LatestPosition.objects.filter(runner__in=unsure, race_state__isnull=False)
    certain = {
        state["entry"]: node
        for state in carried.values_list("race_state", flat=True)
        if state and (node := State.from_json(state["state"]).certain)
    }
    return [
        replace(row, progress=node.distance, progress_at=node.t / 1000)
        if row.progress is None and (node := certain.get(row.entry))
        else row
        for row in rows
    ]


def samples_of(rows: Sequence[Row], now: datetime) -> dict[int, list[Passed]]:
    """Map runners to their known passes: start, splits, and fixes of the last minutes.

    Times in seconds since the epoch, distances in metres, oldest first. Causes two
    queries; reads single positions by index, not a track.
    """
    samples = {row.runner: results_of(row) for row in rows}
    with_phone = [row.runner for row in rows if row.last_fix_at is not None]
    begins = {runner: samples[runner][0].time for runner in with_phone}
    begin_of_all = datetime.fromtimestamp(min(begins.values(), default=0), UTC)
    for runner, at, progress in _recent(with_phone, begin_of_all, now):
        if at.timestamp() > begins[runner] and progress > 0:
            samples[runner].append(Passed(at.timestamp(), progress, FIX_DOUBT_S))
    for known in samples.values():
        known.sort()
    return samples


def results_of(row: Row) -> list[Passed]:
    """Return a runner's passes without those of single fixes: start and splits."""
    if row.started is None:
        begin = Passed(row.gun, 0.0, START_DOUBT_S)
    else:
        begin = Passed(row.started, 0.0)
    return [begin] + [
        Passed(split.time, split.distance, split.uncertainty)
        for split in row.splits
        if split.distance > 0 and split.time > begin.time
    ]


def _recent(
    runners: Collection[int], begin: datetime, now: datetime
) -> Iterable[tuple[int, datetime, float]]:
    if not runners:
        return ()
    adapted = connection.ops.adapt_datetimefield_value
    moments = []
    for n, ago in enumerate(RECENT_S):
        until = now - timedelta(seconds=ago)
        # The newest position is needed at any age.
        since = max(begin, until - NEAR) if n else begin
        moments += [adapted(since), adapted(until)]
    with connection.cursor() as cursor:
        cursor.execute(
            NEWEST_AT_MOMENTS.format(
                moments=", ".join(["(%s, %s)"] * len(RECENT_S)),
                runners=", ".join(["%s"] * len(runners)),
            ),
            [*moments, *runners, adapted(begin)],
        )
        wanted = {pk for (pk,) in cursor.fetchall() if pk is not None}
    rows = Position.objects.filter(pk__in=wanted, progress__isnull=False)
    return rows.values_list("runner", "recorded_at", F("progress"))
