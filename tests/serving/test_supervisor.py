"""The parent of the workers, with real processes that report when they serve."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path

import pytest

from runners.serving import supervisor as supervisor_module
from runners.serving.supervisor import Supervisor, Worker
from tests.waiting import wait_until

# Programs of workers, which serve immediately, after the file `gate` exists, or never.
PROMPT = "echo 1 >/dev/fd/{ready}; exec sleep 60"
GATED = "while [ ! -e {gate} ]; do sleep 0.01; done; " + PROMPT
BROKEN = "exit 1"

ENDS = ("ended", "killed")
# The number of a worker in the order of starts, and its event.
Event = tuple[int, str]


class RecordedWorker(Worker):
    """A worker that logs the actions of its supervisor."""

    def __init__(self, number: int, program: str, gate: Path, log: list[Event]) -> None:
        self.number, self.log, self.checks = number, log, 0
        with Path(os.devnull).open() as listener:
            super().__init__(
                lambda ready: ["sh", "-c", program.format(ready=ready, gate=gate)],
                listener.fileno(),
            )
        self.record("started")

    def record(self, event: str) -> None:
        if (self.number, event) not in self.log:
            self.log.append((self.number, event))

    def check(self) -> bool:
        is_alive = super().check()
        self.checks += 1
        if self.is_ready:
            self.record("serves")
        return is_alive

    def stop(self) -> None:
        self.record("asked to leave")
        super().stop()

    def close(self) -> None:
        self.record("killed" if self.process.poll() is None else "ended")
        super().close()


class WorkerGroup:
    """Two serving workers and their replacements, each with a program."""

    def __init__(self, gate: Path, *replacements: str, first: str = PROMPT) -> None:
        self.gate = gate
        self.log: list[Event] = []
        self.workers: list[RecordedWorker] = []
        self._programs = chain([first, PROMPT], replacements, repeat(PROMPT))
        self.supervisor = Supervisor(self._start, 2)

    def _start(self, index: int) -> Worker:
        number, program = len(self.workers), next(self._programs)
        self.workers.append(RecordedWorker(number, program, self.gate, self.log))
        return self.workers[-1]

    def events_of_restart(self, observe: Callable[[], object]) -> list[Event]:
        """Return the events from a SIGHUP until `observe` returns, which may wait."""

        def observe_restart() -> list[Event]:
            wait_until(lambda: {(0, "serves"), (1, "serves")} <= set(self.log))
            begun = len(self.log)
            os.kill(os.getpid(), signal.SIGHUP)
            observe()
            return self.log[begun:]

        with ThreadPoolExecutor(1) as pool:
            observing = pool.submit(observe_restart)
            observing.add_done_callback(lambda _: os.kill(os.getpid(), signal.SIGTERM))
            assert self.supervisor.run() == 0
            return observing.result()

    def wait_for_replacement(self) -> None:
        """Supervise until a third worker has been started."""
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(wait_until, lambda: (2, "started") in self.log)
            starting.add_done_callback(lambda _: os.kill(os.getpid(), signal.SIGTERM))
            assert self.supervisor.run() == 0
            starting.result()

    def wait_for_ends(self, count: int) -> None:
        """Wait until `count` workers have ended."""
        wait_until(lambda: sum(event in ENDS for _, event in self.log) >= count)

    def wait_for_checks(self, count: int) -> None:
        """Wait until the supervisor has checked its workers `count` more times."""
        checks = self._checks()
        wait_until(lambda: self._checks() > checks + count * len(self.workers))

    def _checks(self) -> int:
        return sum(worker.checks for worker in self.workers)


@pytest.fixture(autouse=True)
def fast_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "CHECK_INTERVAL_S", 0.005)


@pytest.fixture(autouse=True)
def restore_signals() -> Iterator[None]:
    """Restore the signal handlers of this process, which a supervisor replaces."""
    numbers = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_restart_continues_when_a_new_worker_serves_and_the_old_one_has_ended(
    tmp_path: Path,
) -> None:
    group = WorkerGroup(tmp_path / "gate", GATED)

    def observe() -> None:
        wait_until(lambda: (2, "started") in group.log)
        group.wait_for_checks(3)
        # The worker does not serve yet.
        assert group.log[-1] == (2, "started")
        group.gate.touch()
        group.wait_for_ends(2)

    assert group.events_of_restart(observe) == [
        (2, "started"),
        (2, "serves"),
        (0, "asked to leave"),
        (0, "ended"),
        (3, "started"),
        (3, "serves"),
        (1, "asked to leave"),
        (1, "ended"),
    ]


def test_a_new_worker_that_does_not_start_ends_the_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    group = WorkerGroup(tmp_path / "gate", BROKEN)

    def observe() -> None:
        group.wait_for_ends(1)
        # By then the supervisor would have started its next action.
        group.wait_for_checks(3)

    assert group.events_of_restart(observe) == [(2, "started"), (2, "ended")]
    assert "A new worker does not start; keeping the old ones" in caplog.text


def test_a_restart_can_be_requested_again_after_a_failed_one(tmp_path: Path) -> None:
    group = WorkerGroup(tmp_path / "gate", BROKEN)

    def observe() -> None:
        group.wait_for_ends(1)
        os.kill(os.getpid(), signal.SIGHUP)
        group.wait_for_ends(3)

    happened = group.events_of_restart(observe)
    assert [n for n, event in happened if event in ENDS] == [2, 0, 1]


def test_a_dead_worker_is_replaced_when_another_one_has_just_begun_to_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "RETRY_S", 0)
    group = WorkerGroup(tmp_path / "gate", first=BROKEN)
    dead, serving = group.workers
    wait_until(lambda: dead.process.poll() is not None)
    wait_until(lambda: select.select([serving._ready], [], [], 0)[0])
    group.wait_for_replacement()
