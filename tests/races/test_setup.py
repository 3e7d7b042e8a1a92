from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError

from runners.models import Checkpoint, Race
from runners.races.course import Course, Waypoint
from runners.races.setup import propose_checkpoints, race_create, race_set_course

START = datetime(2026, 5, 31, 9, tzinfo=UTC)


def straight(metres: float) -> Course:
    """Return a course along the equator, where 1° of longitude is 111,319.49 m."""
    return Course([(0, 0), (0, metres / 111_319.4908)])


def names(course: Course, *waypoints: Waypoint) -> list[str]:
    return [checkpoint.name for checkpoint in propose_checkpoints(course, waypoints)]


def test_a_short_course_has_a_checkpoint_each_km() -> None:
    assert names(straight(3_200)) == ["Start", "1 km", "2 km", "3 km", "Finish"]


def test_a_long_course_has_a_checkpoint_each_5_km() -> None:
    assert names(straight(21_097)) == [
        "Start",
        "5 km",
        "10 km",
        "15 km",
        "20 km",
        "Finish",
    ]


def test_a_checkpoint_at_the_finish_is_omitted() -> None:
    assert names(straight(10_010)) == ["Start", "5 km", "Finish"]


def test_a_waypoint_on_the_course_becomes_a_checkpoint() -> None:
    bridge = Waypoint("Bridge", 0.0001, 0.01)
    far_away = Waypoint("Car park", 0.01, 0.01)
    line = Waypoint("Start line", 0, 0.0001)

    assert names(straight(2_500), bridge, far_away, line) == [
        "Start",
        "1 km",
        "Bridge",
        "2 km",
        "Finish",
    ]


def test_a_waypoint_that_is_passed_twice_is_numbered() -> None:
    out_and_back = Course([(0, 0), (0, 0.02), (0, 0)])
    found = propose_checkpoints(out_and_back, [Waypoint("Aid", 0, 0.01)])

    aid = [c for c in found if c.name.startswith("Aid")]
    assert [c.name for c in aid] == ["Aid", "Aid 2"]
    assert aid[1].distance == pytest.approx(out_and_back.length * 0.75, abs=1)


def test_a_waypoint_with_a_used_name_is_numbered_and_shortened() -> None:
    found = names(
        straight(2_500),
        Waypoint("1 KM", 0, 0.002),
        Waypoint("x" * 80, 0, 0.004),
        Waypoint("x" * 80, 0, 0.006),
    )

    assert "1 KM" in found and "1 km 2" in found
    assert max(map(len, found)) == 60
    assert len(set(found)) == len(found)


@pytest.mark.django_db
def test_a_race_ends_48_hours_after_its_start() -> None:
    race = race_create(slug="park", name="Park", course=straight(3_200), start=START)

    race.refresh_from_db()
    assert race.ends == START + timedelta(hours=48)
    assert race.length == pytest.approx(3_200, abs=0.1)
    assert race.line[0] == [0, 0]
    kinds = list(race.checkpoints.values_list("kind", flat=True))
    assert kinds == ["start", "split", "split", "split", "finish"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slug": "Park Run"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"name": ""}, "name"),
        ({"ends": START}, "ends"),
    ],
)
def test_an_invalid_race_is_refused(changes: dict[str, object], field: str) -> None:
    arguments: dict[str, object] = {
        "slug": "park",
        "name": "Park",
        "course": straight(3_200),
        "start": START,
    }
    with pytest.raises(ValidationError) as refusal:
        race_create(**(arguments | changes))  # type: ignore[arg-type]

    assert list(refusal.value.message_dict) == [field]
    assert not Race.objects.exists()


@pytest.mark.django_db
def test_a_new_course_replaces_checkpoints_but_keeps_rows_of_the_same_name() -> None:
    race = race_create(slug="park", name="Park", course=straight(3_200), start=START)
    Checkpoint.objects.create(race=race, name="By hand", distance=1_500)
    finish = race.checkpoints.get(name="Finish")

    race_set_course(race=race, course=straight(2_500))

    assert list(race.checkpoints.values_list("name", flat=True)) == [
        "Start",
        "1 km",
        "2 km",
        "Finish",
    ]
    moved = race.checkpoints.get(name="Finish")
    assert moved.pk == finish.pk
    assert moved.distance == pytest.approx(2_500, abs=0.1)
