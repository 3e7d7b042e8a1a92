"""The programs of the packages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).parent


def python(*args: str) -> list[str]:
    """Return a command of Python that finds the package, which is not installed."""
    return [
        "env",
        f"PYTHONPATH={FOLDER.parent / 'python'}:{FOLDER.parents[1]}",
        sys.executable,
        *args,
    ]


def node(*args: str) -> list[str]:
    """Return a command of Node.js, which has websockets from 22 on or by a flag."""
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True
    ).stdout
    early = ["--experimental-websocket"] if int(version[1:].split(".")[0]) < 22 else []
    return ["node", *early, *args]


PACKAGES: dict[str, Callable[[], list[str]]] = {
    "Python": lambda: python(str(FOLDER / "client.py")),
    "JavaScript": lambda: node(str(FOLDER / "client.mjs")),
    # After `make clients` has compiled it.
    "Kotlin": lambda: [
        *("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
        *("-cp", str(FOLDER.parents[1] / "var/kotlin/*"), "ConformanceKt"),
    ],
}

# The interface for websockets hides why a handshake failed.
UNOBSERVABLE = {("JavaScript", "handshake 403")}
