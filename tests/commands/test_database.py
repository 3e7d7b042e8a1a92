"""Commands report a missing database without a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.races.demo import demo_gpx
from tests.servers import PRODUCTION, clean_environment, run


@pytest.mark.parametrize(
    "arguments",
    [
        ["create_runner", "17", "--name", "Bob"],
        ["create_race", "{course}", "--name", "Park", "--slug", "park"],
        ["simulate", "--url", "ws://localhost/", "--race", "park"],
    ],
)
def test_missing_tables_are_explained(tmp_path: Path, arguments: list[str]) -> None:
    course = tmp_path / "park.gpx"
    course.write_text(demo_gpx())
    arguments = [argument.format(course=course) for argument in arguments]
    database = f"sqlite:///{tmp_path / 'empty.sqlite3'}"

    environment = clean_environment(**PRODUCTION, DATABASE_URL=database)
    done = run(["manage.py", *arguments], environment)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Is DATABASE_URL right, and was `manage.py migrate` run?" in done.stderr
