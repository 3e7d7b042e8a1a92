"""The resources of a server process and its children."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return the process and all its living descendants."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # The process has ended meanwhile.
            continue
        for child in children:
            pids += family(int(child))
    return pids


def cpu_seconds(pid: int) -> float:
    """Return user and system time used so far, in seconds."""
    spent = 0.0
    for member in family(pid):
        with suppress(OSError):  # The process has ended meanwhile.
            spent += time.clock_gettime(_cpu_clock(member))
    return spent


def _cpu_clock(pid: int) -> int:
    """Return Linux's clock of a process, in ns, as clock_getcpuclockid(3) does."""
    return ~pid << 3 | 2


def rss_kib(pid: int) -> int:
    """Return the present resident memory, in KiB."""
    total = 0
    for member in family(pid):
        try:
            status = Path(f"/proc/{member}/status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def open_files(pid: int) -> int:
    """Return the number of open file descriptors."""
    return sum(len(os.listdir(f"/proc/{member}/fd")) for member in family(pid))
