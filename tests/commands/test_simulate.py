"""The command against real servers."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from runners.races.demo import demo_gpx
from tests.servers import ROOT, Server, clean_environment


@pytest.fixture(scope="module")
def park(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("courses") / "park.gpx"
    path.write_text(demo_gpx())
    return path


def with_race(server: Server, park: Path, slug: str) -> str:
    server.manage("create_race", str(park), "--name", "Park", "--slug", slug)
    return slug


def rows(server: Server, sql: str) -> int:
    path = server.env["DATABASE_URL"].removeprefix("sqlite:///")
    with sqlite3.connect(path) as database:
        count: int = database.execute(sql).fetchone()[0]
    database.close()
    return count


def usable_tokens(server: Server) -> int:
    return rows(
        server,
        "SELECT count(*) FROM runners_runnertoken"
        " WHERE name = 'simulator' AND revoked_at IS NULL",
    )


def start(server: Server, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "manage.py", "simulate"),
            *("--url", f"{server.ws_url}/ws/", *options),
        ],
        cwd=ROOT,
        env=clean_environment(**server.env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def result(printed: str) -> tuple[int, int]:
    """Return how many fixes were stored and how many not acked, as it says."""
    found = re.search(r"([\d,]+) fixes stored.* ([\d,]+) not acked", printed)
    assert found, printed
    stored, waiting = (int(group.replace(",", "")) for group in found.groups())
    return stored, waiting


def test_field_is_entered_runs_and_is_stored(server: Server, park: Path) -> None:
    race = with_race(server, park, "park")
    url = f"{server.ws_url}/ws/"
    options = ("--url", url, "--race", race, "--runners", "6", "--duration", "5")

    printed = server.manage("simulate", *options)

    stored, waiting = result(printed)
    assert waiting == 0
    assert stored == rows(server, "SELECT count(*) FROM runners_position") >= 10
    assert usable_tokens(server) == 0
    assert rows(server, "SELECT count(*) FROM runners_entry") == 6
    # Already spread along the course, not all at the start.
    span = "SELECT (max(lat) - min(lat)) * 111320 FROM runners_latestposition"
    assert rows(server, span) > 300

    server.manage("simulate", *options[:-1], "1")
    assert rows(server, "SELECT count(*) FROM runners_entry") == 6
    assert rows(server, "SELECT count(*) FROM runners_runner") == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_revokes_the_tokens(
    uvicorn_server: Server, park: Path, number: signal.Signals
) -> None:
    race = with_race(uvicorn_server, park, f"stop-{number.name.lower()}")
    with start(uvicorn_server, "--race", race, "--runners", "3") as process:
        deadline = time.monotonic() + 20
        while not usable_tokens(uvicorn_server) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert usable_tokens(uvicorn_server) == 3
        time.sleep(3)
        process.send_signal(number)
        printed, _ = process.communicate(timeout=20)

    assert process.returncode == 0, printed
    assert "Traceback" not in printed
    assert "3 runners ran for" in printed.splitlines()[-1]
    assert usable_tokens(uvicorn_server) == 0


def test_nothing_acked_is_lost_when_the_server_is_killed(park: Path) -> None:
    with Server("uvicorn") as server:
        race = with_race(server, park, "park")
        options = ("--race", race, "--runners", "5", "--duration", "11")
        with start(server, *options) as process:
            time.sleep(5)
            server.kill()
            time.sleep(1)
            server.start()
            printed, _ = process.communicate(timeout=40)

        assert process.returncode == 0, printed
        stored, _ = result(printed)
        # What was stored without its ack is sent again, and stored once.
        assert stored <= rows(server, "SELECT count(*) FROM runners_position")
        assert " 0 reconnects" not in printed.splitlines()[-1]


def test_tokens_that_the_server_does_not_know_are_explained(
    uvicorn_server: Server, park: Path
) -> None:
    with Server("uvicorn") as other:
        race = with_race(other, park, "park")
        with pytest.raises(RuntimeError, match="same database"):
            other.manage(
                *("simulate", "--url", uvicorn_server.ws_url, "--race", race),
                *("--runners", "2", "--duration", "10"),
            )
        assert usable_tokens(other) == 0


def test_seed_client_gets_every_valid_position(open_server: Server) -> None:
    printed = open_server.manage(
        *("simulate", "--url", open_server.ws_url, "--seed"),
        *("--users", "20", "--messages", "200"),
    )

    assert "20 users sent 4,000 positions" in printed
    assert "Every follower got every valid position." in printed
    found = re.search(r"([\d,]+) of them nowhere on earth; ([\d,]+) errors", printed)
    assert found
    assert found[1] == found[2]


def test_seed_client_says_what_is_missing(uvicorn_server: Server) -> None:
    # Without open mode nobody may publish for any id.
    with start(uvicorn_server, "--seed", "--users", "3", "--messages", "20") as process:
        printed, _ = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "followers miss" in printed
    assert "Traceback" not in printed


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--url", "localhost", "--race", "park"], "no websocket URL"),
        (["--url", "http://localhost/", "--race", "park"], "no websocket URL"),
        (["--url", "ws://localhost/"], "Say which race to run"),
        (["--url", "ws://localhost/", "--race", "park"], "no race 'park'"),
        (["--url", "ws://localhost/", "--seed", "--users", "0"], "from 1 to"),
        (["--url", "ws://localhost/", "--race", "park", "--speed", "-1"], "above 0"),
        (["--url", "ws://127.0.0.1:1/", "--seed"], "Only 0 of 100 sockets opened"),
    ],
)
def test_refusal_is_one_clear_line(options: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says) as refusal:
        call_command("simulate", *options, stdout=StringIO())

    assert "\n" not in str(refusal.value)
