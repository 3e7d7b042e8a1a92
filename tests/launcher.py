"""Starts servers and commands in forks of a process that has imported the project.

The imports are most of the CPU time of a start, and a run of the suite has some hundred
of them. A fork reads the settings again, of its own environment. Modules keep what they
have read of them when they were imported: where any of that is different now, the fork
becomes a new interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
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
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest import mock

import django
from django.conf import LazySettings, settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.functional import empty

from runners.serving import supervisor
from tests.processes import Leash, Leashed
from tests.waiting import POLL_S

ROOT = Path(__file__).resolve().parent.parent

# What servers and commands import. `spectate.asgi` is not among them, because it builds
# the application with the settings.
MODULES = (
    *("runners.routing", "runners.management.commands.serve", "spectate.urls"),
    # Of Daphne, all that does not choose Twisted's reactor.
    *("autobahn.twisted.websocket", "twisted.internet.endpoints", "twisted.web.http"),
    *("uvicorn.protocols.http.httptools_impl", "uvloop", "websockets.server"),
    *("channels_redis.core", "django.core.management.commands.makemigrations"),
    *("django.db.backends.sqlite3.base", "psycopg", "redis.asyncio"),
)
SETTINGS = ("spectate.settings", "tests.browser.settings")
# The signals that the parent of several workers handles, and what they do in a worker.
HANDLERS: dict[signal.Signals, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}
# Of their database, models read the longest name of a table when they are defined.
REREAD = {"DATABASES"}


class Launcher:
    """The process that forks. Requests and replies are one line of JSON each.

    `env` has the settings that the modules are imported with.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self._lock = threading.Lock()
        self._process = Leashed[str](
            [sys.executable, "-m", "tests.launcher"],
            cwd=ROOT,
            env=env,
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


class Launched:
    """A program in a fork, with the methods of `subprocess.Popen`."""

    def __init__(
        self,
        launcher: Launcher,
        command: list[str],
        env: dict[str, str],
        *outputs: Path,
    ) -> None:
        """Start it; `outputs` are files for its output and its errors."""
        self.returncode: int | None = None
        self._launcher = launcher
        self._outputs = outputs
        paths = [str(path) for path in outputs]
        self.pid: int = launcher.request("start", command, env, *paths)
        self._leash = Leash(self.pid)

    def poll(self) -> int | None:
        """Return the program's exit status, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._launcher.request("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the program has ended, or raise `subprocess.TimeoutExpired`."""
        ends = time.monotonic() + (timeout or float("inf"))
        while (status := self.poll()) is None:
            if time.monotonic() > ends:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(POLL_S)
        return status

    @property
    def outputs(self) -> list[str]:
        """What it has printed, and its errors."""
        return [path.read_text(errors="replace") for path in self._outputs]

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill_all(self) -> None:
        """Kill the program and its children, as a power cut would."""
        self._leash.release()
        self.wait()


# -- in the process that forks


def serve() -> None:
    """Reply to requests until the other end is closed; a fork never returns."""
    actions: dict[str, Callable[..., int | None]] = {"start": start, "poll": poll}
    for line in sys.stdin:
        action, *arguments = json.loads(line)
        print(json.dumps(actions[action](*arguments)))


def start(command: list[str], env: dict[str, str], log: str, errors: str) -> int:
    """Run a Python program in a fork; return its pid and process group."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        redirect(log, errors)
        run_program(command, env)
    # Set in both processes, so that the group exists when the pid is returned.
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)
    return pid


def poll(pid: int) -> int | None:
    """Return the exit status of an ended fork, as `subprocess` does."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def redirect(log: str, errors: str) -> None:
    """Append the standard output and errors to files; the input is empty."""
    appended = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    opened = ((os.devnull, os.O_RDONLY), (log, appended), (errors, appended))
    for target, (path, flags) in enumerate(opened):
        os.dup2(os.open(path, flags), target)


def run_program(command: list[str], env: dict[str, str]) -> NoReturn:
    """Run a script, or `-m` and a module, with its arguments."""
    os.environ.clear()
    os.environ.update(env)
    sys.argv = command[1:] if command[0] == "-m" else command
    if not settings_renewed():
        os.execve(sys.executable, [sys.executable, *command], env)
    try:
        if command[0] == "-m":
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            end(1)
        end(ended.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        end(1)
    end(0)


def fork_worker(
    command: list[str], pass_fds: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    """Start a worker of several in a fork of its parent, as `subprocess.Popen`."""

    def run() -> None:
        """Run in the fork; an exec would close and reset the same."""
        # Python disables it around the fork.
        gc.enable()
        for name, handler in HANDLERS.items():
            signal.signal(name, handler)
        close_others({0, 1, 2, *pass_fds})
        run_program(command[1:], dict(os.environ))

    return subprocess.Popen(
        command, pass_fds=pass_fds, preexec_fn=run, restore_signals=False
    )


def close_others(kept: set[int]) -> None:
    """Close all descriptors but these; the parent waits for the end of one of them."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


def end(status: int) -> NoReturn:
    """End as Python does, but leave the memory that is shared with the parent alone.

    To take all modules apart costs more than a start.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    os._exit(status)


def preload() -> None:
    """Import the project with the settings of most servers."""
    sys.argv = ["manage.py", "serve"]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spectate.settings")
    # Otherwise each signal reads DEBUG, to check its receivers.
    with mock.patch.object(LazySettings, "configured", False):
        django.setup()
        for module in MODULES:
            importlib.import_module(module)


def settings_renewed() -> bool:
    """Read the settings again; return whether the imported modules have the same."""
    read = {name: value for name, value in vars(settings).items() if name.isupper()}
    for module in SETTINGS:
        sys.modules.pop(module, None)
    # Also forgets the values that it has read.
    settings._wrapped = empty
    del connections["default"], connections.settings
    connections._settings = None  # type: ignore[attr-defined]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spectate.settings")
    try:
        return all(
            getattr(settings, name) == read[name] for name in read.keys() - REREAD
        )
    except ImproperlyConfigured:
        return False


if __name__ == "__main__":
    # The working directory, which contains the project's packages.
    sys.path[0] = os.getcwd()
    preload()
    vars(supervisor)["subprocess"] = SimpleNamespace(Popen=fork_worker)
    # The forks' garbage collection leaves these objects alone.
    gc.collect()
    gc.freeze()
    serve()
