"""Programs started by tests, which never outlive the test process."""

from __future__ import annotations

import subprocess
from types import TracebackType
from typing import Any, AnyStr

# Waits for the end of its input and then kills a process group.
LEASH = 'read -r _; kill -s KILL -- "-$0"'


class Leash:
    """A shell that kills a process group when this process releases it or ends."""

    def __init__(self, group: int) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", LEASH, str(group)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """Release the group, and wait until it has been killed."""
        self._shell.communicate()


class Leashed(subprocess.Popen[AnyStr]):
    """A program that is killed, with all its children, when this process ends.

    This works when this process is killed too: a shell beside the program holds the
    other end of a pipe. `PR_SET_PDEATHSIG` would do the same only for the thread that
    starts the program.
    """

    def __init__(self, command: list[str], **options: Any) -> None:
        super().__init__(command, start_new_session=True, **options)
        self._leash = Leash(self.pid)

    def kill_all(self) -> None:
        """Kill the process and its children, as a power cut would."""
        self._leash.release()
        self.wait()

    def __exit__(
        self,
        error: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill_all()
        super().__exit__(error, value, traceback)
