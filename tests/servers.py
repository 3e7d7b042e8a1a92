"""Real servers as subprocesses, each with a separate database."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, ParamSpec, Self, TypeVar

import django
import psycopg
from django.apps import apps
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from spectate.databases import database_settings
from tests.launcher import Launched, Launcher
from tests.made_once import made_once, new_folder, shared_folder
from tests.waiting import PATIENCE_S, POLL_S

P = ParamSpec("P")
T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent

Kind = Literal["uvicorn", "daphne"]
KINDS: tuple[Kind, ...] = ("uvicorn", "daphne")

# This process has the same key, so sessions that factories open here are valid there.
SECRET_KEY = "a secret of the test suite, long enough for every check"

# Scripts that are run by hand have no pytest-django to set Django up.
if not apps.ready:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spectate.settings")
    os.environ["SECRET_KEY"] = SECRET_KEY
    django.setup()

OUR_SETTINGS = {
    *("ALLOWED_HOSTS", "DATABASE_URL", "DEBUG", "DJANGO_SETTINGS_MODULE", "EMAIL_URL"),
    *("PORT", "PUBLIC_URL", "REDIS_URL", "SECRET_KEY", "TRUSTED_PROXIES", "WORKERS"),
}


# The settings of servers whose tests need no different ones.
PRODUCTION = {
    "SECRET_KEY": SECRET_KEY,
    "SPECTATE_OPEN_IN_PRODUCTION": "1",
    # A slow machine must neither refuse new sockets nor close sockets without a first
    # message.
    "SPECTATE_LAG_LIMIT": "600000",
    "SPECTATE_FIRST_MESSAGE": "600",
}

# The launcher has a different key, so a server with this one is started as users do, in
# new interpreters.
NEW_INTERPRETER = {"SECRET_KEY": "a different secret, long enough for every check too"}


def free_port() -> int:
    """Return a port that is reserved while this process lives.

    A socket is bound to it without listening: the kernel assigns the port to no client
    and no other test. Servers, which set SO_REUSEADDR, can still listen on it.
    """
    reservation = socket.socket()
    # Bound without SO_REUSEADDR, so that no other process can reserve it too.
    reservation.bind(("", 0))
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port: int = reservation.getsockname()[1]
    reservation.detach()
    return port


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without the developer's Spectate settings."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in OUR_SETTINGS and not name.startswith("SPECTATE_")
    }
    return inherited | {"PYTHONUNBUFFERED": "1"} | extra


@functools.cache
def launcher() -> Launcher:
    """Return a launcher of this process; the first call starts it."""
    in_memory = {"DATABASE_URL": "sqlite://:memory:"}
    return Launcher(clean_environment(**PRODUCTION, **in_memory))


@contextlib.contextmanager
def running(command: list[str], env: dict[str, str]) -> Iterator[Launched]:
    """Start a command of Python, like `manage.py`; it is killed at the end."""
    with tempfile.TemporaryDirectory(dir=shared_folder()) as folder:
        outputs = Path(folder, "output"), Path(folder, "errors")
        program = Launched(launcher(), command, env, *outputs)
        try:
            yield program
        finally:
            program.kill_all()


def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run such a command to its end."""
    with running(command, env) as program:
        status = program.wait()
        return subprocess.CompletedProcess(command, status, *program.outputs)


def migrated_database() -> Path:
    """Migrate a SQLite file once for a run of the suite; servers copy it."""
    return made_once("db.sqlite3", lambda path: migrate(f"sqlite:///{path}"))


def new_database(folder: Path) -> str:
    """Make an empty, migrated database of the suite's kind; return its URL."""
    if template := os.environ.get("SPECTATE_TEST_TEMPLATE"):
        return copy_database(template, f"spectate_{uuid.uuid4().hex}")
    path = folder / "db.sqlite3"
    shutil.copy(migrated_database(), path)
    return f"sqlite:///{path}"


def copy_database(template: str, name: str) -> str:
    """Copy a PostgreSQL database without connections; return the URL of the copy."""
    server, _, source = template.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        # The suite has chosen the names, so quoting is not needed.
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {source}".encode())
    return f"{server}/{name}"


def migrate(database_url: str) -> None:
    """Apply all migrations to a database."""
    in_database(database_url, call_command, "migrate", verbosity=0)


def in_database(
    database_url: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function on a database; return its result."""

    def call() -> T:
        connection = connections["default"] = connect(database_url)
        try:
            return function(*args, **kwargs)
        finally:
            connection.close()

    # A Django connection belongs to one thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


def connect(database_url: str) -> BaseDatabaseWrapper:
    """Connect Django to a database that the settings do not name."""
    databases = {"default": database_settings(database_url)}
    connection = ConnectionHandler(databases).create_connection("default")

    def ensure() -> None:
        if connection.connection is None:
            connection.connect()

    # pytest-django makes Django's own method fail in tests without a database.
    connection.ensure_connection = ensure  # type: ignore[method-assign]
    return connection


class Server:
    """A server under test, with production settings unless the environment differs.

    `with Server("daphne", SPECTATE_OPEN="1") as server:` starts it on a free port,
    waits until it replies and stops it at the end. `DATABASE_URL` names a migrated
    database; the default is a new, empty one: a SQLite file, or in the suite's
    PostgreSQL (`tests/on_postgresql.py`). Pages that need static files need
    `DEBUG="1"`.
    """

    def __init__(self, kind: Kind = "uvicorn", **env: str) -> None:
        self.kind = kind
        self._folder = new_folder("server")
        self._log_path = self._folder / "log"
        self._process: Launched | None = None
        # The processes of all starts, because workers can outlive a killed parent.
        self._started: list[Launched] = []
        self.env = {
            "PORT": str(free_port()),
            **PRODUCTION,
        } | env
        if "DATABASE_URL" not in env:
            self.env["DATABASE_URL"] = new_database(self._folder)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        return int(self.env["PORT"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The pid of the started process, which is the parent of several workers."""
        assert self._process is not None, "The server is not started."
        return self._process.pid

    @property
    def log(self) -> str:
        """The output of all starts so far."""
        return self._log_path.read_text(errors="replace")

    def start(self) -> Self:
        """Start the server and wait until it replies. A restart uses the same port."""
        self._process = Launched(
            launcher(),
            self._command(),
            clean_environment(**self.env),
            *(self._log_path, self._log_path),
        )
        self._started.append(self._process)
        if not self._wait():
            raise RuntimeError(f"{self.kind} did not start:\n{self.log}")
        return self

    def _command(self) -> list[str]:
        if self.kind == "daphne":
            return [
                *("-m", "daphne", "-b", "127.0.0.1"),
                *("-p", str(self.port), "spectate.asgi:application"),
            ]
        return ["manage.py", "serve"]

    def _wait(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                return self._process.poll() is None
            except (OSError, http.client.HTTPException):
                time.sleep(POLL_S)
            finally:
                connection.close()
        return False

    def manage(self, *args: str) -> str:
        """Run a manage.py command on the server's database and return the output."""
        done = run(["manage.py", *args], clean_environment(**self.env))
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(args)}:\n{done.stderr}")
        return done.stdout

    def database(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function on its database; return the result.

        For the server this is a change by a process without its channel layer.
        """
        return in_database(self.env["DATABASE_URL"], function, *args, **kwargs)

    async def adatabase(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `database` in a thread."""
        return await asyncio.to_thread(self.database, function, *args, **kwargs)

    def wait(self) -> int:
        """Wait until the server has ended and return its exit status."""
        assert self._process is not None, "The server is not started."
        return self._process.wait(PATIENCE_S)

    def stop(self) -> int:
        """Send SIGTERM, as a supervisor would, wait, and return the exit status."""
        assert self._process is not None, "The server is not started."
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait()
        # Processes that have not stopped by now are killed, workers included.
        self.kill()
        return self.wait()

    def kill(self) -> None:
        """Kill the server and its workers, as a power cut would."""
        for process in self._started:
            process.kill_all()
        self._started.clear()

    def close(self) -> None:
        """Stop the server if it runs, and remove its files."""
        try:
            if self._process is not None and self._process.poll() is None:
                self.stop()
            self.kill()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def checked(server: Server) -> Iterator[Server]:
    """Run a server for a fixture, and fail if its log has a traceback."""
    with server:
        yield server
        server.stop()
        assert "Traceback" not in server.log, server.log
