"""The start positions of a simulated field, and its past."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from random import Random

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from runners.management.commands import demo
from runners.models import Entry, LatestPosition, Position, Race, Split, Wave
from runners.races.course import Course
from runners.races.demo import demo_points
from runners.races.setup import race_create
from runners.simulation.field import field_create
from runners.simulation.motion import STRAY_M, Motion
from runners.simulation.past import INTERVAL_S, past_write

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stopped_clock")]


@pytest.fixture
def park() -> Race:
    return race_create(
        slug="park",
        name="Park loop",
        course=Course(demo_points(2)),
        start=timezone.now() - timedelta(minutes=10),
    )


def test_a_field_of_a_race_without_waves_starts_anywhere(park: Race) -> None:
    starters = field_create(race=park, size=3)

    assert [(s.distance, s.wait, s.is_out) for s in starters] == [(None, 0, False)] * 3


def test_a_wave_waits_for_its_gun(park: Race) -> None:
    later = timezone.now() + timedelta(minutes=2)
    wave = Wave.objects.create(race=park, name="B", start=later)
    field_create(race=park, size=1)
    Entry.objects.update(wave=wave)

    (starter,) = field_create(race=park, size=1)

    assert starter.distance == 0
    assert starter.wait == 120
    motion = Motion(
        Course(demo_points()), distance=0, wait=starter.wait, random=Random(1)
    )
    speed = motion.step(starter.wait - 1, t=0).speed
    assert speed is not None and speed < 1
    assert motion.distance == 0
    motion.step(5, t=0)
    assert 5 < motion.distance < 20


def test_the_past_has_positions_progress_and_splits(park: Race) -> None:
    field_create(race=park, size=3)
    entries = list(park.entries.select_related("race", "runner", "wave"))
    entries[2].status = Entry.Status.DNF

    for _ in range(2):
        past_write(race=park, entries=entries, now=timezone.now(), random=Random(1))

    assert Position.objects.filter(held=True).count() == 0
    for entry in entries[:2]:
        latest = LatestPosition.objects.get(runner=entry.runner_id)
        assert latest.progress is not None
        assert 10 * 60 * 1.5 < latest.progress < 10 * 60 * 5.5
        assert entry.status == "started" and entry.started_at is not None
        passed = Split.objects.filter(entry=entry).order_by("time")
        names = list(passed.values_list("checkpoint__name", flat=True))
        assert names[:2] == ["Start", "1 km"]
    assert entries[2].status == "dnf"
    # Runners continue from their positions. Those who dropped out stay.
    starters = field_create(race=park, size=3)
    first = LatestPosition.objects.get(runner=entries[0].runner_id)
    assert starters[0].distance == first.progress is not None
    assert starters[0].pace == pytest.approx(first.progress / 600, rel=0.1)
    assert [starter.is_out for starter in starters] == [False, False, True]


def test_a_straying_runner_leaves_the_course_and_returns() -> None:
    course = Course(demo_points())
    motion = Motion(course, distance=0, strays=True, random=Random(1))
    gaps = []
    for _ in range(60):
        fix = motion.step(5, t=0)
        near = course.passes(fix.lat, fix.lng, within=STRAY_M / 2)
        gaps.append(not near)

    assert any(gaps) and not gaps[0] and not gaps[-1]


def test_the_demo_is_under_way_when_it_starts() -> None:
    for runners in (3, 60):
        demo.race_restart(runners)

    race = Race.objects.get()
    waves = {wave.name: wave.entries.count() for wave in race.waves.all()}
    assert waves == {"A": 23, "B": 22, "C": 15}
    moving = race.entries.filter(status="started")
    assert moving.count() >= 40
    assert race.entries.filter(status="dnf").count() == 1
    assert race.entries.count() == 60
    # Relative to the restart, because writing the rows takes seconds.
    recent = race.start - demo.WAVES[0][1] - timedelta(seconds=2 * INTERVAL_S)
    live = LatestPosition.objects.filter(recorded_at__gt=recent, progress__gt=500)
    assert live.count() >= 40


@pytest.mark.parametrize(("speed", "top"), [(2.1, 12.5), (20.5, 130), (1e6, 130)])
def test_a_speed_beyond_the_races_top_speed_is_refused(
    park: Race, speed: float, top: float
) -> None:
    Race.objects.update(top_speed=top)

    with pytest.raises(CommandError, match="plausible top speed"):
        call_command(
            "simulate",
            *("--url", "ws://127.0.0.1:1/", "--race", "park", "--runners", "1"),
            *("--speed", str(speed)),
            stdout=StringIO(),
        )
    assert not Entry.objects.exists()
