"""The resources of a server process and its children, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


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
    ticks = 0
    for member in family(pid):
        try:
            stat = Path(f"/proc/{member}/stat").read_text()
        except OSError:
            continue
        # The command's name, in brackets, may contain anything. It is the 2nd field,
        # and the times are the 14th and 15th.
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND


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
