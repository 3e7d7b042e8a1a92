"""Hashes passwords and PINs without taking the processor from everybody else."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.hashers import PBKDF2PasswordHasher

# Of the thread that hashes; 0 is that of all others. On a busy core it gets a quarter.
NICENESS = 5


def _lower_priority() -> None:
    # On Linux a thread has a priority of its own.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # A process that was started with a lower priority may not raise it.
        niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, niceness)


_thread = ThreadPoolExecutor(1, "hashing", initializer=_lower_priority)


class PatientHasher(PBKDF2PasswordHasher):
    """Django's hasher, in one thread of low priority for each process.

    A hash takes a third of a second of the processor. Six guesses at the same time,
    each in the thread of its request, leave the event loop a seventh of a core.
    """

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        hashing = super().encode
        encoded: str = _thread.submit(hashing, password, salt, iterations).result()
        return encoded
