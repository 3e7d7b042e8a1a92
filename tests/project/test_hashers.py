from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password

from spectate.hashers import NICENESS, PatientHasher


def test_a_hash_is_that_of_django() -> None:
    encoded = PatientHasher().encode("hunter2", "salt", 5)
    assert encoded == PBKDF2PasswordHasher().encode("hunter2", "salt", 5)
    assert check_password("hunter2", encoded)


def test_hashes_are_made_one_at_a_time_and_yield_to_other_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise six guesses leave the event loop a seventh of a core."""
    threads: set[int] = set()
    priorities: set[int] = set()

    def encode(self: Any, *password: Any) -> str:
        native = threading.get_native_id()
        threads.add(native)
        priorities.add(os.getpriority(os.PRIO_PROCESS, native))
        return "hash"

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", encode)
    with ThreadPoolExecutor(6) as requests:
        hashed = [requests.submit(PatientHasher().encode, "x", "y") for _ in range(12)]
        assert {each.result() for each in hashed} == {"hash"}

    assert len(threads) == 1
    own = os.getpriority(os.PRIO_PROCESS, 0)
    if sys.platform == "linux":
        assert priorities == {max(own, NICENESS)}
