"""The parent of several serving processes: replaces dead ones, restarts in turn."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from types import FrameType

logger = logging.getLogger(__name__)

# Time between checks of the workers and of requested signals.
LOOK_S = 0.1
# How long a worker may take to start.
START_S = 60.0
# How long workers may take to stop; longer than their own limit.
STOP_S = 9.7
# The delay before a worker that failed to start is tried again.
RETRY_S = 1.0


class Worker:
    """A serving process, which writes to a pipe once it serves.

    `command` returns its command line for the pipe's file descriptor; `listener` is the
    descriptor that stays open for it.
    """

    def __init__(self, command: Callable[[int], list[str]], listener: int) -> None:
        self._ready, other_end = os.pipe()
        self.process = subprocess.Popen(
            command(other_end), pass_fds=(other_end, listener)
        )
        os.close(other_end)
        self.started_at = time.monotonic()
        self.is_ready = False

    def look(self) -> bool:
        """Check whether the worker serves; return whether it is alive."""
        if not self.is_ready and self._ready >= 0:
            readable, _, _ = select.select([self._ready], [], [], 0)
            self.is_ready = bool(readable) and bool(os.read(self._ready, 1))
        return self.process.poll() is None

    @property
    def too_slow(self) -> bool:
        return not self.is_ready and time.monotonic() - self.started_at > START_S

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def close(self) -> None:
        """Kill the worker if it is alive, and release its resources here."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1


class Supervisor:
    """Keeps a number of workers serving until SIGTERM or SIGINT.

    SIGHUP restarts them one after the other: an old worker is stopped once its
    replacement serves, and the next follows once it has ended. A replacement that fails
    to start ends the restart; the remaining old workers go on.
    """

    def __init__(self, start: Callable[[int], Worker], count: int) -> None:
        self._start = start
        # Workers by number, which labels their metrics.
        self.workers = {place: start(place) for place in range(count)}
        self._stopping = False
        self._restart_asked = False
        self._to_replace: deque[int] = deque()
        self._coming: Worker | None = None
        self._leaving: Worker | None = None
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._restart_asked = True
        else:
            self._stopping = True

    def run(self) -> int:
        """Supervise the workers; return the exit status."""
        ever_ready = False
        while not self._stopping:
            for place, worker in list(self.workers.items()):
                alive = worker.look()
                ever_ready |= worker.is_ready
                if not alive and not ever_ready:
                    logger.error("A worker could not start; stopping all workers")
                    return self.stop(status=1)
                if not alive or worker.too_slow:
                    self._replace(place, worker)
            self._restart()
            time.sleep(LOOK_S)
        return self.stop(status=0)

    def _replace(self, place: int, worker: Worker) -> None:
        if not worker.is_ready and time.monotonic() < worker.started_at + RETRY_S:
            return
        logger.warning("Worker %d has exited; starting a new one", worker.process.pid)
        worker.close()
        self.workers[place] = self._start(place)

    def _restart(self) -> None:
        """Do the next step of a restart."""
        if self._restart_asked:
            logger.info("Restarting the workers, one after the other")
            self._restart_asked = False
            self._to_replace = deque(self.workers)
        if self._leaving is not None:
            if self._leaving.look():
                return
            self._leaving.close()
            self._leaving = None
        if not self._to_replace:
            return
        if self._coming is None:
            self._coming = self._start(self._to_replace[0])
        elif not self._coming.look() or self._coming.too_slow:
            logger.error("A new worker does not start; keeping the old ones")
            self._coming.close()
            self._coming = None
            self._to_replace.clear()
        elif self._coming.is_ready:
            place = self._to_replace.popleft()
            self._leaving = self.workers[place]
            self.workers[place], self._coming = self._coming, None
            self._leaving.stop()

    def stop(self, status: int) -> int:
        """Stop all workers; kill those that exceed the limit."""
        transient = [w for w in (self._coming, self._leaving) if w is not None]
        workers = [*self.workers.values(), *transient]
        for worker in workers:
            worker.stop()
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline and any(worker.look() for worker in workers):
            time.sleep(LOOK_S / 2)
        for worker in workers:
            worker.close()
        return status
