"""The short form of tests/faults/timing_fuzz.py."""

from __future__ import annotations

import random

import pytest

from tests.faults.timing_fuzz import FORMATS, SHORT


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_lines_crash_nothing_and_lose_no_valid_one(name: str) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"--seed {seed}")
    generator = random.Random(seed)
    for _ in range(SHORT):
        FORMATS[name](generator)
