"""Writes the past positions of a field, as if its phones had sent since the gun."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from django.db import transaction
from msgspec.structs import asdict

from runners.models import Entry, LatestPosition, Position, Race, Split
from runners.positions.fix import Fix
from runners.races.course import Course
from runners.races.progress import Guide
from runners.races.splits import Mark
from runners.simulation.motion import Motion
from runners.units.clock import milliseconds, moment_of

# Time between two fixes.
INTERVAL_S = 10.0
# How long everybody stands at the start before the gun.
LINE_UP_S = 30.0
SOURCE = "websocket"


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
    runner = entry.runner_id
    replayed = guide.replay(milliseconds(entry.gun), fixes)
    rows = [
        Position(
            stored_at=moment_of(fix.t),
            held=held,
            **_place(entry.runner_id, fix, progress),
        )
        for fix, progress, held in zip(
            fixes, replayed.progress, replayed.held, strict=True
        )
    ]
    Position.objects.bulk_create(rows)
    if rows:
        last = _place(runner, fixes[-1], replayed.progress[-1])
        LatestPosition.objects.create(contact_at=rows[-1].recorded_at, **last)
    Split.objects.bulk_create(
        Split(
            entry=entry,
            checkpoint_id=passing.mark,
            pass_number=passing.pass_number,
            time=moment_of(passing.at),
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
    entry.started_at = moment_of(started[0]) if started else None
    entry.finished_at = None if state.finished is None else moment_of(state.finished)
    entry.save()


def _place(runner: int, fix: Fix, progress: float | None) -> dict[str, Any]:
    """Return the fields of a position, and of a latest position."""
    fields = asdict(fix)
    recorded_at = moment_of(fields.pop("t"))
    return fields | {
        "runner_id": runner,
        "recorded_at": recorded_at,
        "progress": progress,
        "source": SOURCE,
    }
