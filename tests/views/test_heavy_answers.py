"""Courses and compressed answers are made once, and outside of the event loop."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest
from django.test import Client

from runners.models import Race, Runner
from runners.races import course_files
from runners.views.races import listing
from tests.races.field import make_field, make_race

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

Visibility = Runner.Visibility


def test_a_course_is_written_once_until_it_changes(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = make_race()
    written: list[int] = []
    write = course_files.course_gpx

    def spy(race: Race) -> str:
        written.append(race.pk)
        return write(race)

    monkeypatch.setattr(course_files, "course_gpx", spy)
    for _ in range(2):
        assert b"5 km" in client.get("/races/ten/course.gpx").content
    assert written == [race.pk]
    race.checkpoints.filter(name="5 km").update(name="Bridge")
    assert b"Bridge" in client.get("/races/ten/course.gpx").content
    Race.objects.update(visibility=Race.Visibility.LINK)
    assert client.get("/races/ten/course.gpx").status_code == 404
    assert len(written) == 2


@pytest.mark.parametrize(
    ("path", "contains"),
    [
        ("standings.json", b'"ann"'),
        ("replay.json?from=0", b'"chunk"'),
        ("course.gpx", b"<trkpt"),
        ("course.geojson", b'"LineString"'),
    ],
)
def test_answers_are_compressed_outside_of_the_event_loop(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str, contains: bytes
) -> None:
    make_field(make_race())
    listing.forget_kept()
    loops: list[object] = []
    compress = gzip.compress

    def spy(*args: Any, **options: Any) -> bytes:
        loops.append(asyncio._get_running_loop())
        return compress(*args, **options)

    monkeypatch.setattr(gzip, "compress", spy)
    headers = {"Accept-Encoding": "gzip"}
    answer = client.get(f"/races/ten/{path}", headers=headers)
    assert contains in gzip.decompress(answer.content)
    assert loops == [None]
    assert answer["Vary"].startswith("Accept-Encoding")
    assert answer["Cache-Control"] == "private, no-store"
