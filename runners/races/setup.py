"""Creates a race: its row, its course and its checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction

from runners.models import Checkpoint, Race, Wave
from runners.races.course import Course, Waypoint
from runners.races.splits import Mark, passes_of

DEFAULT_DURATION = timedelta(hours=48)
# A longer race is a typing error, and would show its runners for as long.
LONGEST_RACE = timedelta(days=60)
# The distance between checkpoints of a new course, and of a short course.
SPACING_M = 5_000
SHORT_SPACING_M = 1_000
SHORT_COURSE_M = 10_000
# A waypoint this close to the line is on the course, as GPX files are drawn by hand.
WAYPOINT_REACH_M = 30.0
# Two checkpoints this close along the course are one.
SAME_CHECKPOINT_M = 50.0
NAME_LENGTH = 60
# A certified length that differs from the drawn one by more than this share is a typing
# error.
FARTHEST_OFF = 0.1


@dataclass(frozen=True)
class ProposedCheckpoint:
    name: str
    distance: float
    kind: str


def race_create(
    *,
    slug: str,
    name: str,
    course: Course,
    waypoints: Iterable[Waypoint] = (),
    start: datetime,
    ends: datetime | None = None,
    zone: str = "UTC",
) -> Race:
    """Create a race with its course and checkpoints; raise ValidationError.

    It ends 48 h after the start unless `ends` is given.
    """
    race = Race(
        slug=slug,
        name=name,
        start=start,
        ends=ends or start + DEFAULT_DURATION,
        timezone=zone,
    )
    with transaction.atomic():
        race_save(race=race)
        race_set_course(race=race, course=course, waypoints=waypoints)
    return race


def race_save(*, race: Race) -> None:
    """Store a new or changed race; raise ValidationError."""
    if problem := times_problem(race.start, race.ends):
        raise ValidationError({"ends": problem})
    race.full_clean()
    race.save()


def times_problem(start: datetime, ends: datetime) -> str | None:
    """Return what is wrong with the times of a race."""
    if ends <= start:
        return "The end must be after the start."
    if ends - start > LONGEST_RACE:
        return f"A race lasts at most {LONGEST_RACE.days} days."
    return None


def length_problem(length: float, measured: float) -> str | None:
    """Return what is wrong with a certified length, if it cannot be right."""
    if abs(length - measured) <= FARTHEST_OFF * measured:
        return None
    return (
        f"The course measures {measured:,.0f} m; a length more than "
        f"{FARTHEST_OFF:.0%} from it is a mistake in one or the other."
    )


def race_set_course(
    *,
    race: Race,
    course: Course,
    waypoints: Iterable[Waypoint] = (),
    length: float | None = None,
) -> list[ProposedCheckpoint]:
    """Set the course of a stored race, and its checkpoints.

    `length` is the certified one, if there is one. Distances along the old course are
    not valid on the new one: checkpoints that the new one does not have are deleted,
    and those with the same name keep their rows.
    """
    race.line = _line_of(course)
    race.length = length or course.length
    proposed = propose_checkpoints(course, waypoints, length=race.length)
    with transaction.atomic():
        race.save(update_fields=["line", "length", "changed_at"])
        race_set_checkpoints(race=race, checkpoints=proposed)
    return proposed


def race_has_course(*, race: Race, course: Course, length: float | None) -> bool:
    """Return whether a race has this course already, of the same length."""
    return race.length == (length or course.length) and race.line == _line_of(course)


def _line_of(course: Course) -> list[list[float]]:
    return [
        [lat, lng] if height is None else [lat, lng, height]
        for lat, lng, height in course.points
    ]


def race_set_waves(*, race: Race, waves: Mapping[str, datetime]) -> None:
    """Set the waves of a race, starts by name. Known names keep their rows.

    Entries of a wave that is deleted start with the race.
    """
    with transaction.atomic():
        there = {wave.name: wave for wave in race.waves.all()}
        race.waves.exclude(name__in=waves).delete()
        for name, start in waves.items():
            wave = there.get(name, Wave(race=race, name=name))
            if wave._state.adding or wave.start != start:
                wave.start = start
                wave.full_clean()
                wave.save()


def race_set_checkpoints(
    *, race: Race, checkpoints: Iterable[ProposedCheckpoint]
) -> None:
    """Set the checkpoints of a race. Those with the same name keep rows and splits."""
    wanted = {checkpoint.name: checkpoint for checkpoint in checkpoints}
    with transaction.atomic():
        there = {checkpoint.name: checkpoint for checkpoint in race.checkpoints.all()}
        race.checkpoints.exclude(name__in=wanted).delete()
        for name, new in wanted.items():
            row = there.get(name, Checkpoint(race=race, name=name))
            before = None if row._state.adding else (row.distance, row.kind)
            if before != (new.distance, new.kind):
                row.distance, row.kind = new.distance, new.kind
                row.full_clean()
                row.save()


def race_scale_checkpoints(*, race: Race, before: float) -> None:
    """Move a race's checkpoints after its length was corrected from `before`.

    A point on the ground gets a different distance; a whole kilometre keeps its
    distance and moves on the ground.
    """
    moved = [c for c in race.checkpoints.all() if c.distance % 1000]
    for checkpoint in moved:
        checkpoint.distance = round(checkpoint.distance * race.length / before, 1)
    Checkpoint.objects.bulk_update(moved, ["distance"])


def race_add_checkpoints(
    *, race: Race, waypoints: Iterable[Waypoint] = ()
) -> list[Checkpoint]:
    """Add the usual checkpoints that are missing; leave existing ones."""
    there = list(race.checkpoints.all())
    names = {checkpoint.name.lower() for checkpoint in there}
    ends = {c.kind for c in there if c.kind != Checkpoint.Kind.SPLIT}
    added = []
    proposed = propose_checkpoints(Course(race.line), waypoints, length=race.length)
    for new in proposed:
        if new.kind in ends or any(
            abs(new.distance - checkpoint.distance) <= SAME_CHECKPOINT_M
            for checkpoint in there
            if new.kind == Checkpoint.Kind.SPLIT
        ):
            continue
        name = _free_name(new.name, names)
        added.append(
            Checkpoint(race=race, name=name, distance=new.distance, kind=new.kind)
        )
    with transaction.atomic():
        Checkpoint.objects.bulk_create(added)
        # Pages of the race read these again.
        race.save(update_fields=["changed_at"])
    return added


def propose_checkpoints(
    course: Course, waypoints: Iterable[Waypoint] = (), *, length: float | None = None
) -> list[ProposedCheckpoint]:
    """Return start, every 5 km (or 1 km), the waypoints passed, and finish.

    A waypoint that is passed on the way out and back is two checkpoints, one that each
    lap passes is one. Distances are scaled to the course's certified length if one is
    given.
    """
    kinds = Checkpoint.Kind
    length = length or course.length
    found = [
        ProposedCheckpoint("Start", 0.0, kinds.START),
        ProposedCheckpoint("Finish", round(length, 1), kinds.FINISH),
    ]
    taken = {"start", "finish"}
    for waypoint in waypoints:
        for measured in _first_passes(course, waypoint):
            distance = round(measured * length / course.length, 1)
            if all(
                abs(distance - other.distance) > SAME_CHECKPOINT_M for other in found
            ):
                name = _free_name(waypoint.name, taken)
                found.append(ProposedCheckpoint(name, distance, kinds.SPLIT))
    spacing = SHORT_SPACING_M if length < SHORT_COURSE_M else SPACING_M
    for mark in range(spacing, int(length - SAME_CHECKPOINT_M), spacing):
        name = _free_name(f"{mark // 1000} km", taken)
        found.append(ProposedCheckpoint(name, float(mark), kinds.SPLIT))
    return sorted(found, key=lambda checkpoint: checkpoint.distance)


def _first_passes(course: Course, waypoint: Waypoint) -> list[float]:
    """Return the distances of a waypoint; further laps are passes of the same."""
    firsts: list[float] = []
    known: list[float] = []
    for distance in course.passes(waypoint.lat, waypoint.lng, within=WAYPOINT_REACH_M):
        if all(abs(distance - other) > SAME_CHECKPOINT_M for other in known):
            firsts.append(distance)
            laps = passes_of(course, [Mark(0, distance, Checkpoint.Kind.SPLIT)])
            known += [passed.distance for passed in laps]
    return firsts


def _free_name(name: str, taken: set[str]) -> str:
    """Return the name, numbered from its second use, for an out and back."""
    number, free = 1, name[:NAME_LENGTH]
    while free.lower() in taken:
        number += 1
        free = f"{name[: NAME_LENGTH - 5]} {number}"
    taken.add(free.lower())
    return free
