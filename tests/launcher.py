"""Starts servers in forks of a process that has already imported the libraries.

Importing Django and other packages is half of the CPU time of a server's start, and the
suite starts about two hundred servers. The project's modules are imported after the
fork, with the environment of the server.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tests.processes import Leash, Leashed
from tests.waiting import POLL_S

ROOT = Path(__file__).resolve().parent.parent

# These modules read no settings and open nothing that a fork would share.
LIBRARIES = (
    *("autobahn.websocket.protocol", "channels.auth", "channels.layers"),
    *("channels.routing", "channels_redis.core", "cryptography.fernet"),
    *(
        "django.contrib.admin.decorators",
        "django.contrib.admin.templatetags.admin_list",
    ),
    *("django.contrib.auth.hashers", "django.core.handlers.asgi"),
    *("django.core.management.commands.makemigrations", "django.db.models"),
    *("django.db.backends.sqlite3.base", "django.forms", "django.middleware.locale"),
    *("django.template.loader", "django.test.signals", "django.views.generic"),
    *("fido2.server", "gpxpy", "http_ece", "httptools", "import_export.resources"),
    *("msgspec", "numpy", "openpyxl", "orjson", "PIL.ImageDraw", "pmtiles.reader"),
    *("polib", "prometheus_client", "psycopg", "py_vapid", "pydantic.dataclasses"),
    *("pydantic.networks", "pyproj", "redis.asyncio", "segno", "shapely", "smtplib"),
    *("standardwebhooks", "tablib", "twisted.internet.defer", "uvicorn.server"),
    *("uvicorn.protocols.http.httptools_impl", "uvloop", "websockets.server"),
    "whitenoise.media_types",
)


class Launched:
    """A program in a fork, with the methods of `subprocess.Popen`."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.returncode: int | None = None
        self.pid: int = launcher().request("start", command, env, str(log))
        self._leash = Leash(self.pid)

    def poll(self) -> int | None:
        """Return the program's exit status, or None while it runs."""
        if self.returncode is None:
            self.returncode = launcher().request("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the program has ended, or raise `subprocess.TimeoutExpired`."""
        ends = time.monotonic() + (timeout or float("inf"))
        while (status := self.poll()) is None:
            if time.monotonic() > ends:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(POLL_S)
        return status

    def terminate(self) -> None:
        """Send SIGTERM unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill_all(self) -> None:
        """Kill the program and its children, as a power cut would."""
        self._leash.release()
        self.wait()


class Launcher:
    """The process that forks. Requests and replies are one line of JSON each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = Leashed[str](
            [sys.executable, "-m", "tests.launcher"],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def request(self, action: str, *arguments: Any) -> Any:
        """Send a `start` or `poll` request; return the reply."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None
        with self._lock:
            print(json.dumps([action, *arguments]), file=requests, flush=True)
            return json.loads(answers.readline())


@functools.cache
def launcher() -> Launcher:
    """Return the launcher of this process; the first call starts it."""
    return Launcher()


# -- in the process that forks


def serve() -> None:
    """Reply to requests until the other end is closed; a fork never returns."""
    actions: dict[str, Callable[..., int | None]] = {"start": start, "poll": poll}
    for line in sys.stdin:
        action, *arguments = json.loads(line)
        print(json.dumps(actions[action](*arguments)))


def start(command: list[str], env: dict[str, str], log: str) -> int:
    """Run a Python program in a fork; return its pid and process group."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        run(command, env, log)
    # Set in both processes, so that the group exists when the pid is returned.
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)
    return pid


def poll(pid: int) -> int | None:
    """Return the exit status of an ended fork, as `subprocess` does."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def run(command: list[str], env: dict[str, str], log: str) -> NoReturn:
    """Run a script, or `-m` and a module, with its arguments."""
    reads = os.open(os.devnull, os.O_RDONLY)
    writes = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for source, target in ((reads, 0), (writes, 1), (writes, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(env)
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    # The working directory, which contains the project's packages.
    sys.path[0] = os.getcwd()
    for library in LIBRARIES:
        importlib.import_module(library)
    # The forks' garbage collection leaves these objects alone.
    gc.collect()
    gc.freeze()
    serve()
