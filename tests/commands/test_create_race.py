from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from runners.models import Race
from runners.races.demo import demo_gpx

pytestmark = pytest.mark.django_db


@pytest.fixture
def park(tmp_path: Path) -> str:
    path = tmp_path / "park.gpx"
    path.write_text(demo_gpx())
    return str(path)


def create(*arguments: str) -> str:
    out = StringIO()
    call_command("create_race", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_one_line_about_the_race(park: str) -> None:
    printed = create(
        park, "--name", "Park", "--slug", "park", "--start", "2026-05-31T09:00+02:00"
    )

    assert printed.count("\n") == 1
    answer = json.loads(printed)
    assert answer["slug"] == "park"
    assert answer["start"] == "2026-05-31T07:00:00+00:00"
    assert answer["length"] == pytest.approx(3_202.5, abs=1)
    race = Race.objects.get()
    assert race.ends - race.start == timedelta(hours=48)
    assert list(race.checkpoints.values_list("name", flat=True)) == [
        "Start",
        "Cedars",
        "1 km",
        "2 km",
        "Pond",
        "3 km",
        "Finish",
    ]
    assert answer["checkpoints"] == 7


def test_a_race_starts_now_by_default(park: str) -> None:
    before = timezone.now()
    create(park, "--name", "Park", "--slug", "park")

    assert before <= Race.objects.get().start <= timezone.now()


def test_times_without_an_offset_are_utc(park: str) -> None:
    create(
        *(park, "--name", "Park", "--slug", "park"),
        *("--start", "2026-05-31 09:00", "--ends", "2026-06-01"),
    )

    race = Race.objects.get()
    assert race.start == datetime(2026, 5, 31, 9, tzinfo=UTC)
    assert race.ends == datetime(2026, 6, 1, tzinfo=UTC)


def test_times_are_in_the_races_time_zone(park: str) -> None:
    create(
        *(park, "--name", "Park", "--slug", "park", "--timezone", "Europe/Dublin"),
        *("--start", "2026-05-31T09:00", "--ends", "2026-05-31T12:00+02:00"),
    )

    race = Race.objects.get()
    assert race.timezone == "Europe/Dublin"
    assert race.start == datetime(2026, 5, 31, 8, tzinfo=UTC)
    assert race.ends == datetime(2026, 5, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--slug", "park", "--timezone", "Dublin"],
            "--timezone: 'Dublin' is not a time zone",
        ),
        (["--slug", "first"], "slug: Race with this Slug already exists."),
        (["--slug", "Park Run"], "slug: Use small letters, digits and hyphens."),
        (["--slug", "park", "--start", "soon"], "--start 'soon' is not a time"),
        (["--slug", "park", "--start", "2026-13-01"], "--start '2026-13-01' is no"),
        (
            ["--slug", "park", "--start", "2026-05-31", "--ends", "2026-05-30"],
            "ends: The end must be after the start.",
        ),
    ],
)
def test_a_refusal_is_one_line(park: str, options: list[str], message: str) -> None:
    create(park, "--name", "First", "--slug", "first")

    with pytest.raises(CommandError, match=message) as refusal:
        create(park, "--name", "Park", *options)

    assert "\n" not in str(refusal.value)
    assert Race.objects.count() == 1


def test_a_missing_or_invalid_file_is_named(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.gpx", tmp_path / "empty.gpx"
    empty.touch()

    with pytest.raises(CommandError, match="Cannot read .*missing.gpx: No such file"):
        create(str(missing), "--name", "Park", "--slug", "park")
    with pytest.raises(CommandError, match="empty.gpx: This is not a GPX file"):
        create(str(empty), "--name", "Park", "--slug", "park")


def test_problems_of_a_course_are_reported_and_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "twice.gpx"
    path.write_text(demo_gpx(2))
    answer = json.loads(create(str(path), "--name", "Two", "--slug", "two"))
    assert "--mend lap" in capsys.readouterr().err
    repaired = json.loads(
        create(str(path), "--name", "One", "--slug", "one", "--mend", "lap")
    )

    assert repaired["length"] == pytest.approx(answer["length"] / 2, rel=0.01)
