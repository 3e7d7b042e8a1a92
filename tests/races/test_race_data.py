from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin import site
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from runners.admin.race import RaceAdmin
from runners.models import Entry, LatestPosition, Position, Race, Split, Wave
from runners.races.arrival.pacing import shipped
from runners.races.arrival.ranges import Curve
from runners.races.arrival.slopes import Slopes
from runners.races.progress import State
from runners.races.race_data import ground_of, rows_of, samples_of
from runners.races.splits import Node
from tests.races.field import LENGTH_M, make_entry, make_race

pytestmark = pytest.mark.django_db


def test_rows_have_times_splits_and_progress() -> None:
    race = make_race()
    wave = Wave.objects.create(
        race=race, name="Red", start=race.start + timedelta(minutes=5)
    )
    make_entry(race, "bob", "7", pace=0.3, late=12, wave=wave, category="M40")
    (row,) = rows_of(race, ground_of(race))
    assert (row.code, row.bib, row.category, row.wave) == ("bob", "7", "M40", "Red")
    assert row.gun == wave.start.timestamp()
    assert row.started == row.gun + 12
    assert row.status == "started"
    latest = LatestPosition.objects.get()
    ran = latest.recorded_at.timestamp() - row.started
    assert row.progress == pytest.approx(ran / 0.3)
    assert [split.distance for split in row.splits] == [0, 2_500, 5_000]


def test_coefficients_of_a_different_version_are_not_used() -> None:
    race = make_race()
    race.pacing = {**shipped().as_json(), "middle": [0.1]}
    race.save()
    assert ground_of(race).prior is shipped()
    assert "upload them again" in RaceAdmin(Race, site).learned(race)


def test_rows_need_few_queries(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    race = make_race()
    for n in range(5):
        make_entry(race, f"r{n}", str(n), pace=0.3)
    ground = ground_of(race)
    with django_assert_num_queries(3):
        rows = rows_of(race, ground)
    with django_assert_num_queries(2):
        samples_of(rows, timezone.now())


def test_a_finish_set_by_hand_is_preferred() -> None:
    race = make_race()
    entry = make_entry(race, "bob", "7", pace=0.2)
    by_hand = race.start + timedelta(seconds=2_100)
    finish = Split.objects.get(entry=entry, checkpoint__kind="finish")
    finish.time, finish.by_hand = by_hand, True
    finish.save()
    (row,) = rows_of(race, ground_of(race))
    assert row.finished == by_hand.timestamp()


def test_off_course_the_last_certain_progress_counts() -> None:
    race = make_race()
    entry = make_entry(race, "bob", "7", pace=0.3)
    state = State(gun=0, status="off_course", certain=Node(1.0, 4_321.0))
    LatestPosition.objects.update(
        progress=None,
        race_state={"entry": entry.pk, "version": 1, "state": state.as_json()},
    )
    (row,) = rows_of(race, ground_of(race))
    assert row.progress == 4_321.0


def test_progress_in_a_different_race_is_ignored() -> None:
    race = make_race(start=timezone.now() - timedelta(hours=9))
    make_entry(race, "bob", "7", status="started")
    entry = Entry.objects.get()
    now = timezone.now()
    LatestPosition.objects.create(
        runner=entry.runner,
        recorded_at=now,
        contact_at=now,
        lat=1,
        lng=1,
        progress=50.0,
        source="x",
    )
    (row,) = rows_of(race, ground_of(race))
    assert (row.progress, row.last_fix_at) == (None, None)


def test_samples_are_the_start_the_splits_and_the_last_minutes() -> None:
    race = make_race()
    make_entry(race, "bob", "7", pace=0.3, late=12)
    rows = rows_of(race, ground_of(race))
    (samples,) = samples_of(rows, timezone.now()).values()
    assert samples[0] == (rows[0].started, 0.0, 0.0)
    distances = [sample.distance for sample in samples]
    assert distances == sorted(distances)
    assert {2_500, 5_000, 7_500} < set(distances)
    assert len(samples) == 1 + 3 + 6
    # The range of a place just ahead is as wide as the error of the last fix.
    (curve,) = Curve.of_many([samples], Slopes.flat(10_000), shipped())
    ((_, middle, late),) = curve.ranges([samples[-1].distance + 1]).values()
    assert 3 < late - middle < 5
    for sample in samples:
        assert sample.time - samples[0].time == pytest.approx(
            sample.distance * 0.3, abs=0.1
        )


def test_samples_omit_held_positions() -> None:
    race = make_race()
    make_entry(race, "bob", "7", pace=0.3)
    Position.objects.update(held=True)
    (samples,) = samples_of(rows_of(race, ground_of(race)), timezone.now()).values()
    assert [sample.distance for sample in samples] == [0, 2_500, 5_000, 7_500]


def test_the_ground_follows_course_and_checkpoints() -> None:
    race = make_race()
    first = ground_of(race)
    assert ground_of(race) is first
    assert first.course is not None
    assert first.course.length == pytest.approx(LENGTH_M)
    race.checkpoints.filter(name="5 km").delete()
    assert len(ground_of(race).stops) == 4
    race.line = []
    race.save()
    assert ground_of(race).course is None
