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
CHECK_INTERVAL_S = 0.1
# How long a worker may take to start.
START_S = 60.0
# How long workers may take to stop. Longer than the workers' own limit.
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

    def check(self) -> bool:
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
        self.workers = {number: start(number) for number in range(count)}
        self._stopping = False
        self._restart_requested = False
        self._to_replace: deque[int] = deque()
        self._replacement: Worker | None = None
        self._outgoing: Worker | None = None
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._restart_requested = True
        else:
            self._stopping = True

    def run(self) -> int:
        """Supervise the workers; return the exit status."""
        ever_ready = False
        while not self._stopping:
            # All are checked before any is judged: one of them may have just served.
            checked = [(*item, item[1].check()) for item in self.workers.items()]
            ever_ready |= any(worker.is_ready for _, worker, _ in checked)
            for number, worker, alive in checked:
                if not alive and not ever_ready:
                    logger.error("A worker could not start; stopping all workers")
                    return self.stop(status=1)
                if not alive or worker.too_slow:
                    self._replace(number, worker)
            self._restart()
            time.sleep(CHECK_INTERVAL_S)
        return self.stop(status=0)

    def _replace(self, number: int, worker: Worker) -> None:
        if not worker.is_ready and time.monotonic() < worker.started_at + RETRY_S:
            return
        logger.warning("Worker %d has exited; starting a new one", worker.process.pid)
        worker.close()
        self.workers[number] = self._start(number)

    def _restart(self) -> None:
        """Do the next step of a restart."""
        if self._restart_requested:
            logger.info("Restarting the workers, one after the other")
            self._restart_requested = False
            self._to_replace = deque(self.workers)
        if self._outgoing is not None:
            if self._outgoing.check():
                return
            self._outgoing.close()
            self._outgoing = None
        if not self._to_replace:
            return
        if self._replacement is None:
            self._replacement = self._start(self._to_replace[0])
        elif not self._replacement.check() or self._replacement.too_slow:
            logger.error("A new worker does not start; keeping the old ones")
            self._replacement.close()
            self._replacement = None
            self._to_replace.clear()
        elif self._replacement.is_ready:
            number = self._to_replace.popleft()
            self._outgoing = self.workers[number]
            self.workers[number], self._replacement = self._replacement, None
            self._outgoing.stop()

    def stop(self, status: int) -> int:
        """Stop all workers; kill those that exceed the limit."""
        transient = [w for w in (self._replacement, self._outgoing) if w is not None]
        workers = [*self.workers.values(), *transient]
        for worker in workers:
            worker.stop()
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline and any(worker.check() for worker in workers):
            time.sleep(CHECK_INTERVAL_S / 2)
        for worker in workers:
            worker.close()
        return status
