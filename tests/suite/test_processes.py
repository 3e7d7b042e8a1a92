"""Programs started by tests never outlive them, however the tests end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Leashed
from tests.servers import ROOT, clean_environment
from tests.waiting import PATIENCE_S, wait_until

# All child processes inherit it.
UP = {"one", "two"}
MARK = "SUITE_UNDER_TEST"
SUITE = """
import time
from pathlib import Path
import psycopg
from playwright.sync_api import sync_playwright
from tests.servers import Server
from tests.services import CHROMIUM_FLAGS, EmptyPostgres, Redis, chromium_path
from tests.waiting import wait_until

HERE = Path(__file__).parent
MAKES_FILES = (
    b"DO 'BEGIN LOOP CREATE TABLE t (); COMMIT; DROP TABLE t; COMMIT; END LOOP; END'")

def wait(name):
    (HERE / name).touch()
    time.sleep(3600)

def test_server_and_postgresql():
    with EmptyPostgres() as postgres:
        # Without tables, which take most of the time, the server starts too.
        url = postgres.database_url("postgres")
        with Server(DATABASE_URL=url), psycopg.connect(url) as connection:
            wait_until((HERE / "two").exists)
            # It makes files as long as it runs.
            connection.pgconn.send_query(MAKES_FILES)
            wait("one")

def test_redis_and_chromium():
    with Redis(), sync_playwright() as playwright:
        playwright.chromium.launch(
            executable_path=chromium_path(), args=CHROMIUM_FLAGS)
        wait("two")
"""


def marked(mark: str) -> Iterator[tuple[int, str]]:
    """Yield the pid and command of each process that has this mark."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name), (folder / "cmdline").read_text()
        except OSError:
            continue  # The process has ended, or belongs to a different user.


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can enter, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.usefixtures("chromium", "postgres_cluster", "shared_redis")
def test_a_terminated_parallel_run_leaves_no_process_running(folder: Path) -> None:
    mark = str(uuid.uuid4())
    (folder / "test_suite.py").write_text(SUITE)
    with (
        (folder / "output").open("wb") as output,
        Leashed[bytes](
            [
                *(sys.executable, "-m", "pytest", "-n", "2", "-c", "pyproject.toml"),
                *("-p", "tests.conftest", str(folder / "test_suite.py")),
            ],
            cwd=ROOT,
            env=clean_environment(**{MARK: mark, "TMPDIR": str(folder)}),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as suite,
    ):
        wait_until(lambda: suite.poll() is not None or {*os.listdir(folder)} >= UP)
        assert suite.returncode is None, (folder / "output").read_text()
        assert len(list(marked(mark))) > 10
        # The folder of the run has all others: it is deleted also after a worker that
        # took too long to stop was killed.
        (_,) = folder.glob("spectate-*")
        suite.terminate()
        suite.wait(PATIENCE_S)

        wait_until(lambda: not list(marked(mark)))
    assert not list(folder.glob("spectate-*"))


def test_programs_of_a_killed_test_process_are_killed() -> None:
    code = (
        "import time; from tests.processes import Leashed\n"
        "Leashed(['sh', '-c', 'sleep 3600 & wait'])\n"
        "print('started', flush=True)\n"
        "time.sleep(3600)"
    )
    mark = str(uuid.uuid4())
    with Leashed[bytes](
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
    ) as test:
        assert test.stdout is not None
        assert test.stdout.readline() == b"started\n"
        wait_until(lambda: any(name.startswith("sleep") for _, name in marked(mark)))
        test.send_signal(signal.SIGKILL)

        wait_until(lambda: not list(marked(mark)))
