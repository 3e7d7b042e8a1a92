"""Writes the past positions of a field, as if its phones had sent since the gun."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from django.db import transaction

from runners.models import Entry, LatestPosition, Position, Race, Split
from runners.races.course import Course
from runners.races.progress import Guide
from runners.races.splits import Mark
from runners.simulation.motion import Fix, Motion
from runners.units.clock import milliseconds

# Time between two fixes.
INTERVAL_S = 10.0
# How long everybody stands at the start before the gun.
LINE_UP_S = 30.0
SOURCE = "websocket"


@dataclass(frozen=True, slots=True)
class Phone:
    """A fix with the fields that progress reads."""

    t: int
    lat: float
    lng: float
    accuracy: float | None
    speed: float | None
    heading: float | None


def past_write(
    *, race: Race, entries: Iterable[Entry], now: datetime, random: Random
) -> None:
    """Replace the positions of entries by those from before their gun until now.

    DNFs have been standing since half of that time.
    """
    course = Course(race.line, length=race.length)
    marks = [Mark(c.pk, c.distance, c.kind) for c in race.checkpoints.all()]
    guide = Guide(course, marks, top_speed=race.top_speed)
    entries = list(entries)
    runners = [entry.runner_id for entry in entries]
    with transaction.atomic():
        Split.objects.filter(entry__in=entries).delete()
        LatestPosition.objects.filter(runner__in=runners).delete()
        before = min([race.start, *(entry.gun for entry in entries)])
        Position.objects.filter(
            runner__in=runners, recorded_at__gt=before - timedelta(hours=2)
        ).delete()
        for entry in entries:
            _write(entry, guide, _run(entry, course, now, random), now)


def _run(entry: Entry, course: Course, now: datetime, random: Random) -> list[Fix]:
    # Runners cross the start some seconds after the gun.
    wait = LINE_UP_S + random.uniform(0, 10)
    motion = Motion(course, distance=0, wait=wait, random=Random(random.random()))
    gun, end = milliseconds(entry.gun), milliseconds(now)
    if entry.status == Entry.Status.DNF:
        end = (gun + end) // 2
    first, step = gun - round(1000 * LINE_UP_S), round(1000 * INTERVAL_S)
    return [motion.step(INTERVAL_S, t=t) for t in range(first + step, end + 1, step)]


def _write(entry: Entry, guide: Guide, fixes: list[Fix], now: datetime) -> None:
    replayed = guide.replay(
        milliseconds(entry.gun),
        [
            Phone(f["t"], f["lat"], f["lng"], f["accuracy"], f["speed"], f["heading"])
            for f in fixes
        ],
    )
    rows = [
        Position(
            runner_id=entry.runner_id,
            recorded_at=_moment(fix["t"]),
            stored_at=_moment(fix["t"]),
            lat=fix["lat"],
            lng=fix["lng"],
            accuracy=fix["accuracy"],
            speed=fix["speed"],
            heading=fix["heading"],
            battery=fix["battery"],
            progress=progress,
            held=held,
            source=SOURCE,
        )
        for fix, progress, held in zip(
            fixes, replayed.progress, replayed.held, strict=True
        )
    ]
    Position.objects.bulk_create(rows)
    if rows:
        last = rows[-1]
        LatestPosition.objects.create(
            runner_id=entry.runner_id,
            contact_at=last.recorded_at,
            recorded_at=last.recorded_at,
            lat=last.lat,
            lng=last.lng,
            accuracy=last.accuracy,
            speed=last.speed,
            heading=last.heading,
            battery=last.battery,
            progress=last.progress,
            source=SOURCE,
        )
    Split.objects.bulk_create(
        Split(
            entry=entry,
            checkpoint_id=passing.mark,
            pass_number=passing.pass_number,
            time=_moment(passing.at),
            uncertainty=passing.uncertainty,
        )
        for passing in replayed.splits
    )
    state = replayed.state
    if entry.status == Entry.Status.DNF:
        entry.out_at = rows[-1].recorded_at if rows else None
    else:
        entry.status = (
            Entry.Status.REGISTERED
            if state.status == "registered"
            else Entry.Status.FINISHED
            if state.finished is not None
            else Entry.Status.STARTED
        )
    started = [p.at for p in replayed.splits if p.distance <= guide.start]
    entry.started_at = _moment(started[0]) if started else None
    entry.finished_at = None if state.finished is None else _moment(state.finished)
    entry.save()


def _moment(t: int) -> datetime:
    return datetime.fromtimestamp(t / 1000, UTC)
