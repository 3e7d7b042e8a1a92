from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import Leashed
from tests.servers import ROOT, clean_environment, free_port
from tests.waiting import PATIENCE_S, wait_until

RUNNERS = 5


def test_the_demo_shows_moving_runners_and_cleans_up(tmp_path: Path) -> None:
    database, log, port = tmp_path / "db.sqlite3", tmp_path / "log", free_port()
    with (
        log.open("wb") as output,
        Leashed[bytes](
            [sys.executable, "manage.py", "demo", f"--runners={RUNNERS}"],
            cwd=ROOT,
            env=clean_environment(DATABASE_URL=f"sqlite:///{database}", PORT=str(port)),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as demo,
    ):
        wait_until(lambda: f"http://localhost:{port}/races/demo/" in log.read_text())
        wait_until(
            lambda: count(database, "SELECT count(*) FROM runners_position") > 20
        )
        moving = "SELECT count(DISTINCT runner_id) FROM runners_position"
        wait_until(lambda: count(database, moving) == RUNNERS)
        demo.send_signal(signal.SIGINT)
        demo.wait(PATIENCE_S)
        output_text = log.read_text()
        assert "Traceback" not in output_text
        assert demo.returncode == 0, output_text
        usable = "SELECT count(*) FROM runners_runnertoken WHERE revoked_at IS NULL"
        assert count(database, usable) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def count(database: Path, query: str) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (number,) = connection.execute(query).fetchone()
    return int(number)
