"""Run pytest on a private PostgreSQL: `python -m tests.on_postgresql tests/races`.

The tests of this process, and the servers that they start, have databases in it instead
of SQLite files.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.services import Postgres


class SuitePostgres(Postgres):
    """A cluster for the servers of all xdist workers, 12 connections each."""

    def command(self) -> list[str]:
        return [*super().command(), "-c", "max_connections=400"]


def main() -> int:
    with SuitePostgres() as postgres:
        url = postgres.new_database()
        # Databases need not be dropped, because the cluster is deleted at the end.
        command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
        env = os.environ | {"DATABASE_URL": url, "SPECTATE_TEST_TEMPLATE": url}
        with subprocess.Popen(command, env=env) as run:
            signal.signal(signal.SIGTERM, lambda *_: run.terminate())
            return run.wait()


if __name__ == "__main__":
    sys.exit(main())
