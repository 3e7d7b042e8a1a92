"""The parent of the workers: with real processes that say when they serve."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path

import pytest

from runners.serving import supervisor as supervisor_module
from runners.serving.supervisor import Supervisor, Worker
from tests.waiting import wait_until

# Serve at once, once the file `gate` exists, or never.
PROMPT = "echo 1 >/dev/fd/{ready}; exec sleep 60"
GATED = "while [ ! -e {gate} ]; do sleep 0.01; done; " + PROMPT
BROKEN = "exit 1"

ENDS = ("ended", "killed")
# A worker's number in the order of their starts, and what became of it.
Event = tuple[int, str]


class RecordedWorker(Worker):
    """A process, and what its supervisor saw and asked of it."""

    def __init__(self, number: int, program: str, gate: Path, log: list[Event]) -> None:
        self.number, self.log, self.checks = number, log, 0
        with Path(os.devnull).open() as listener:
            super().__init__(
                lambda ready: ["sh", "-c", program.format(ready=ready, gate=gate)],
                listener.fileno(),
            )
        self.note("started")

    def note(self, event: str) -> None:
        if (self.number, event) not in self.log:
            self.log.append((self.number, event))

    def look(self) -> bool:
        is_alive = super().look()
        self.checks += 1
        if self.is_ready:
            self.note("serves")
        return is_alive

    def stop(self) -> None:
        self.note("asked to leave")
        super().stop()

    def close(self) -> None:
        self.note("killed" if self.process.poll() is None else "ended")
        super().close()


class Crew:
    """Two workers that serve, and those that replace them, each with a program."""

    def __init__(self, gate: Path, *replacements: str) -> None:
        self.gate = gate
        self.log: list[Event] = []
        self.workers: list[RecordedWorker] = []
        self._programs = chain([PROMPT, PROMPT], replacements, repeat(PROMPT))
        self.supervisor = Supervisor(self._start, 2)

    def _start(self, place: int) -> Worker:
        number, program = len(self.workers), next(self._programs)
        self.workers.append(RecordedWorker(number, program, self.gate, self.log))
        return self.workers[-1]

    def restarted(self, watch: Callable[[], object]) -> list[Event]:
        """Return what happened from a SIGHUP until `watch` is done, which may wait."""

        def watch_restart() -> list[Event]:
            wait_until(lambda: {(0, "serves"), (1, "serves")} <= set(self.log))
            begun = len(self.log)
            os.kill(os.getpid(), signal.SIGHUP)
            watch()
            return self.log[begun:]

        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(watch_restart)
            watching.add_done_callback(lambda _: os.kill(os.getpid(), signal.SIGTERM))
            assert self.supervisor.run() == 0
            return watching.result()

    def wait_for_ends(self, count: int) -> None:
        """Wait until so many workers have ended, whichever."""
        wait_until(lambda: sum(event in ENDS for _, event in self.log) >= count)

    def wait_for_turns(self, count: int) -> None:
        """Wait until the supervisor has checked its workers so many times more."""
        checks = self._checks()
        wait_until(lambda: self._checks() > checks + count * len(self.workers))

    def _checks(self) -> int:
        return sum(worker.checks for worker in self.workers)


@pytest.fixture(autouse=True)
def quick_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "LOOK_S", 0.005)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Give this process its handlers back, which a supervisor replaces."""
    numbers = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_restart_goes_on_once_each_new_worker_serves_and_the_old_one_has_left(
    tmp_path: Path,
) -> None:
    crew = Crew(tmp_path / "gate", GATED)

    def watch() -> None:
        wait_until(lambda: (2, "started") in crew.log)
        crew.wait_for_turns(3)
        # It does not serve yet.
        assert crew.log[-1] == (2, "started")
        crew.gate.touch()
        crew.wait_for_ends(2)

    assert crew.restarted(watch) == [
        (2, "started"),
        (2, "serves"),
        (0, "asked to leave"),
        (0, "ended"),
        (3, "started"),
        (3, "serves"),
        (1, "asked to leave"),
        (1, "ended"),
    ]


def test_new_worker_that_does_not_start_ends_the_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crew = Crew(tmp_path / "gate", BROKEN)

    def watch() -> None:
        crew.wait_for_ends(1)
        # Whatever the supervisor would do next it would have begun.
        crew.wait_for_turns(3)

    assert crew.restarted(watch) == [(2, "started"), (2, "ended")]
    assert "A new worker does not start: the old ones stay" in caplog.text


def test_restart_can_be_asked_for_again_after_one_that_failed(tmp_path: Path) -> None:
    crew = Crew(tmp_path / "gate", BROKEN)

    def watch() -> None:
        crew.wait_for_ends(1)
        os.kill(os.getpid(), signal.SIGHUP)
        crew.wait_for_ends(3)

    happened = crew.restarted(watch)
    assert [n for n, event in happened if event in ENDS] == [2, 0, 1]
