"""A race on a straight course and its entries, as rows of the database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from runners.models import (
    Checkpoint,
    Entry,
    LatestPosition,
    Passing,
    Position,
    Race,
    Runner,
    Split,
    Wave,
)
from runners.models.race_role import Role
from runners.rights.roles import role_set
from runners.timing.reads import read_of
from runners.timing.storage import passings_store

LENGTH_M = 10_000.0
METRES_PER_DEGREE = 111_195.0
# The race started this long ago.
STARTED_AGO = timedelta(minutes=40)


def make_race(
    *, start: datetime | None = None, owner: User | None = None, **fields: Any
) -> Race:
    """Make a race of 10 km due north, with splits at 2.5, 5 and 7.5 km."""
    start = start or timezone.now() - STARTED_AGO
    given: dict[str, Any] = {
        "slug": "ten",
        "name": "Ten",
        "start": start,
        "ends": start + timedelta(hours=4),
        "line": [[48 + n * LENGTH_M / 20 / METRES_PER_DEGREE, 2.0] for n in range(21)],
        "length": LENGTH_M,
    }
    race = Race.objects.create(**given | fields)
    if owner is not None:
        role_set(race=race, user=owner, role=Role.OWNER)
    for name, distance, kind in (
        ("Start", 0.0, "start"),
        ("2.5 km", 2_500.0, "split"),
        ("5 km", 5_000.0, "split"),
        ("7.5 km", 7_500.0, "split"),
        ("Finish", LENGTH_M, "finish"),
    ):
        Checkpoint.objects.create(race=race, name=name, distance=distance, kind=kind)
    return race


def make_entry(
    race: Race,
    code: str,
    bib: str,
    *,
    pace: float = 0.0,
    late: float = 0.0,
    visibility: str = Runner.Visibility.RACE,
    wave: Wave | None = None,
    **fields: Any,
) -> Entry:
    """Enter a runner; with a pace (s/m) they have run since `late` s after the gun.

    Their positions end with the last full minute of the race, so that a field does not
    depend on how long it takes to create it.
    """
    runner = Runner.objects.create(code=code, name=code.title(), visibility=visibility)
    entry = Entry.objects.create(race=race, runner=runner, bib=bib, wave=wave, **fields)
    if not pace:
        return entry
    now = timezone.now()
    now -= (now - race.start) % timedelta(minutes=1)
    entry.started_at = entry.gun + timedelta(seconds=late)
    ran = (now - entry.started_at).total_seconds()
    for stop in race.checkpoints.all():
        if stop.distance * pace <= ran:
            time = entry.started_at + timedelta(seconds=stop.distance * pace)
            Split.objects.create(entry=entry, checkpoint=stop, time=time, uncertainty=1)
            if stop.kind == Checkpoint.Kind.FINISH:
                entry.finished_at = time
    if "status" not in fields:
        entry.status = "finished" if entry.finished_at else "started"
    entry.save()
    places = [
        {
            "recorded_at": now - timedelta(seconds=ago),
            "lat": 48 + progress / METRES_PER_DEGREE,
            "lng": 2.0,
            "progress": progress,
            "source": "x",
        }
        for ago in range(1, 1_300, 20)
        if (progress := min((ran - ago) / pace, LENGTH_M)) > 0
    ]
    Position.objects.bulk_create(
        Position(runner=runner, stored_at=now, **place) for place in places
    )
    LatestPosition.objects.create(runner=runner, contact_at=now, **places[0])
    return entry


def pass_mats(race: Race, chip: str, *passings: tuple[str, float]) -> None:
    """Store passings of a chip: station, minutes after the gun."""
    reads = [
        read_of(
            *(station, f"{station} {chip} {after}"),
            *(chip, race.start + timedelta(minutes=after)),
        )
        for station, after in passings
    ]
    passings_store(race=race, source=Passing.Source.MYLAPS, reads=reads)


def make_field(race: Race) -> Race:
    """Add two entries in a wave and three without: running, retired, not started."""
    red = Wave.objects.create(race=race, name="Red", start=race.start)
    make_entry(race, "ann", "1", pace=0.2, category="W", wave=red)
    make_entry(race, "bob", "2", pace=0.21, late=60, category="M", wave=red)
    make_entry(race, "cleo", "3", pace=0.3, category="W")
    make_entry(race, "dan", "4", pace=0.4, status="dnf", category="M")
    make_entry(race, "eli", "5", category="M")
    return race
