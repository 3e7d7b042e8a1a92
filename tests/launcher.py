"""Starts servers in forks of a process that has imported the libraries already.

Half of the CPU time of a server's start goes into importing Django and other packages;
the suite starts about two hundred. Everything of this project is imported after the
fork, with the environment of the server.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from tests.processes import Leash, Leashed
from tests.waiting import POLL_S

ROOT = Path(__file__).resolve().parent.parent

# None of them reads settings or opens anything that a fork would share.
LIBRARIES = (
    *("autobahn.websocket.protocol", "channels.auth", "channels.layers"),
    *("channels.routing", "channels_redis.core", "cryptography.fernet"),
    *("django.core.handlers.asgi", "django.core.management", "django.db.models"),
    *("django.db.backends.sqlite3.base", "django.forms", "django.template.loader"),
    *("django.views.generic", "httptools", "numpy", "openpyxl", "orjson"),
    *("psycopg", "pyproj", "redis.asyncio", "twisted.internet.defer", "uvicorn.server"),
    *("uvicorn.protocols.http.httptools_impl", "uvloop", "websockets.server"),
)


class Launched:
    """A program in a fork; used as `subprocess.Popen` is."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.returncode: int | None = None
        self.pid: int = launcher().request("start", command, env, str(log))
        self._leash = Leash(self.pid)

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        if self.returncode is None:
            self.returncode = launcher().request("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; raises `subprocess.TimeoutExpired`."""
        ends = time.monotonic() + (timeout or float("inf"))
        while (status := self.poll()) is None:
            if time.monotonic() > ends:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(POLL_S)
        return status

    def terminate(self) -> None:
        """Ask it to stop, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill_all(self) -> None:
        """Kill it and what it has started, as a power cut would."""
        self._leash.release()
        self.wait()


class Launcher:
    """The process that forks; one request at a time, a line of JSON each way."""

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

    def request(self, what: str, *arguments: Any) -> Any:
        """Have it `start` a program or `poll` a process id; return the answer."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None
        with self._lock:
            print(json.dumps([what, *arguments]), file=requests, flush=True)
            return json.loads(answers.readline())


@functools.cache
def launcher() -> Launcher:
    """Return the launcher of this process, started by the first call."""
    return Launcher()


# In the process that forks


def serve() -> None:
    """Answer requests until the other end is closed; a fork does not come back."""
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        print(json.dumps({"start": start, "poll": poll}[what](*arguments)))


def start(command: list[str], env: dict[str, str], log: str) -> int:
    """Run a Python program in a fork; return its pid, which is its group's too."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        run(command, env, log)
    # Here too, so that the group exists when the pid is returned.
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)
    return pid


def poll(pid: int) -> int | None:
    """Return the exit status of a fork that has ended, as `subprocess` does."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def run(command: list[str], env: dict[str, str], log: str) -> NoReturn:
    """Be a program: the path of a script, or `-m` and a module, and its arguments."""
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
    # The working directory, where this project's packages are.
    sys.path[0] = os.getcwd()
    for library in LIBRARIES:
        importlib.import_module(library)
    serve()
