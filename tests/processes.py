"""Programs that tests start and that never outlive the test process."""

from __future__ import annotations

import subprocess
from types import TracebackType
from typing import Any, AnyStr

# Waits for the end of its input and then kills a process group.
LEASH = 'read -r _; kill -s KILL -- "-$0"'


class Leashed(subprocess.Popen[AnyStr]):
    """A program that is killed, with all its children, when this process ends.

    This works when this process is killed too: a shell beside the program holds the
    other end of a pipe. `PR_SET_PDEATHSIG` would do the same only for the thread that
    starts the program.
    """

    def __init__(self, command: list[str], **options: Any) -> None:
        super().__init__(command, start_new_session=True, **options)
        self._leash = subprocess.Popen(
            ["/bin/sh", "-c", LEASH, str(self.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill_all(self) -> None:
        """Kill the process and its children, as a power cut would."""
        self._leash.communicate()
        self.wait()

    def __exit__(
        self,
        error: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill_all()
        super().__exit__(error, value, traceback)
