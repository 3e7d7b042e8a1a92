"""The folder of a run, and what one process of a parallel run makes for all of them."""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.waiting import wait_until

FOLDER = "SPECTATE_TEST_FOLDER"


@functools.cache
def shared_folder() -> Path:
    """Return the run's folder. The first process makes it and deletes it at its end.

    The others have ended by then, or were killed: their programs end a moment later,
    and write files until then.
    """
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="spectate-shared-")
        atexit.register(wait_until, lambda: _is_removed(Path(os.environ[FOLDER])))
    return Path(os.environ[FOLDER])


def new_folder(kind: str) -> Path:
    """Make a folder that is deleted with the run's folder at the latest."""
    return Path(tempfile.mkdtemp(prefix=f"spectate-{kind}-", dir=shared_folder()))


def _is_removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """Return a path in the run's folder that `make` has made, here or in a neighbour.

    Neighbours wait meanwhile. They change only copies of it.
    """
    path = shared_folder() / name
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            _remove(unfinished)
            make(unfinished)
            unfinished.rename(path)
    return path


def _remove(path: Path) -> None:
    """Remove what an attempt that has failed left."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
