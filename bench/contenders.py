"""The servers to compare, and how to start each."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.servers import ROOT, clean_environment, free_port, migrated_database
from tests.services import Postgres, Redis

SERVER_CORE = "0"
GENERATOR_CORE = "1"
START_TIMEOUT_S = 60
# Time for work that our servers do directly after their start.
CALM_S = 2.0
STOP_TIMEOUT_S = 20

PLAIN_UVICORN = (
    "python -m uvicorn bench.textbook:application --host 127.0.0.1 --port {port} "
    "--ws auto --ws-per-message-deflate false --no-access-log --log-level warning"
)


@dataclass(frozen=True)
class Contender:
    """A server to measure. `python` and `node` in its command are those of this
    environment.
    """

    name: str
    command: str
    dialect: Literal["seed", "socketio"] = "seed"
    path: str = "/"
    ours: bool = False
    # Behind Redis and PostgreSQL. Otherwise one process on SQLite.
    shared: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    # The checkout to run.
    root: Path = ROOT


OURS = Contender("Spectate, uvicorn", "python manage.py serve -v 0", ours=True)
OURS_DAPHNE = Contender(
    "Spectate, Daphne",
    "python -m daphne -b 127.0.0.1 -p {port} -v 0 spectate.asgi:application",
    ours=True,
)
ONE_SHARED, TWO_SHARED = (
    Contender(
        f"Spectate, {processes}, Redis and PostgreSQL",
        "python manage.py serve -v 0",
        ours=True,
        shared=True,
        env={"WORKERS": workers},
    )
    for workers, processes in (("1", "1 process"), ("2", "2 processes"))
)
TEXTBOOK = Contender("textbook, uvicorn", PLAIN_UVICORN)
TEXTBOOK_DAPHNE = Contender(
    "textbook, Daphne",
    "python -m daphne -b 127.0.0.1 -p {port} -v 0 bench.textbook:application",
)
WS = Contender("ws", "node bench/peers/ws.js {port}")
WS_MERGED = Contender("ws, merged writes", "node bench/peers/ws-merged.js {port}")
SOCKET_IO = Contender(
    "Socket.IO",
    "node bench/peers/socketio.js {port}",
    dialect="socketio",
    path="/socket.io/?EIO=4&transport=websocket",
)
CONTENDERS = (
    *(OURS, OURS_DAPHNE, ONE_SHARED, TWO_SHARED),
    *(TEXTBOOK, TEXTBOOK_DAPHNE, WS, WS_MERGED, SOCKET_IO),
)


@dataclass(frozen=True)
class Running:
    """A running server. `field` is the file with a race's tokens."""

    url: str
    pid: int
    database_url: str
    field: Path


class DurablePostgres(Postgres):
    """Waits for the disk at each commit, as an installation does."""

    options: Sequence[str] = ()


class Services:
    """Redis and PostgreSQL, started on first use."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._started: tuple[Redis, Postgres] | None = None

    def get(self) -> tuple[Redis, Postgres]:
        if self._started is None:
            self._started = (
                self._stack.enter_context(Redis()),
                self._stack.enter_context(DurablePostgres()),
            )
        return self._started

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def serving(
    contender: Contender, folder: Path, services: Services, runners: int, *, open_: bool
) -> Iterator[Running]:
    """Start the server on its core, with a race of `runners` in its database.

    `open_` is the trust model of 2015, which the other servers always have.
    """
    port = free_port()
    env = {"PORT": str(port), **contender.env}
    field_file = folder / "field.json"
    if contender.ours:
        env["SECRET_KEY"] = "a secret of the benchmark, which nobody else uses"
        if contender.shared:
            redis, postgres = services.get()
            env |= {"REDIS_URL": redis.url, "DATABASE_URL": postgres.new_database()}
        else:
            env["DATABASE_URL"] = f"sqlite:///{folder / 'db.sqlite3'}"
            if contender.root == ROOT:
                shutil.copy(migrated_database(), folder / "db.sqlite3")
            else:
                output_of(contender.root, env, "manage.py", "migrate", "-v0")
        if open_:
            env |= {"SPECTATE_OPEN": "1", "SPECTATE_OPEN_IN_PRODUCTION": "1"}
        else:
            made = output_of(
                contender.root, env, "-m", "bench.field", f"--runners={runners}"
            )
            field_file.write_bytes(made)
    program, *arguments = contender.command.format(port=port).split()
    program = sys.executable if program == "python" else node()
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, program, *arguments],
            cwd=contender.root,
            env=clean_environment(**env),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                log_text = (folder / "log").read_text()
                sys.exit(f"{contender.name} did not start:\n{log_text}")
            time.sleep(0.05)
        if contender.ours:
            time.sleep(CALM_S)
        yield Running(
            f"ws://127.0.0.1:{port}{contender.path}",
            process.pid,
            env.get("DATABASE_URL", ""),
            field_file,
        )
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def output_of(root: Path, env: Mapping[str, str], *arguments: str) -> bytes:
    """Run Python in a checkout and return its output."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=clean_environment(**env),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout


@contextlib.contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary worktree."""
    with tempfile.TemporaryDirectory(prefix="spectate-compare-") as folder:
        root = Path(folder) / "tree"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", root, commit], check=True)
        try:
            # The map library, which pages are served with.
            (root / "node_modules").symlink_to(ROOT / "node_modules")
            yield root
        finally:
            subprocess.run([*git, "remove", "--force", root], check=True)


def node() -> str:
    """Return the path of Node.js, from the environment or the machine."""
    return shutil.which("node") or sys.exit("The peers need Node.js 20: make bench")
