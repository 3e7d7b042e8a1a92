"""Commands report a missing database without a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runners.races.demo import demo_gpx
from tests.servers import ROOT, clean_environment


@pytest.mark.parametrize(
    "arguments",
    [
        ["create_runner", "17", "--name", "Bob"],
        ["create_race", "park.gpx", "--name", "Park", "--slug", "park"],
        ["simulate", "--url", "ws://localhost/", "--race", "park"],
    ],
)
def test_missing_tables_are_explained(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "park.gpx").write_text(demo_gpx())
    database = f"sqlite:///{tmp_path / 'empty.sqlite3'}"

    done = subprocess.run(
        [sys.executable, ROOT / "manage.py", *arguments],
        cwd=tmp_path,
        env=clean_environment(DATABASE_URL=database, SECRET_KEY="test"),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Is DATABASE_URL right, and was `manage.py migrate` run?" in done.stderr
