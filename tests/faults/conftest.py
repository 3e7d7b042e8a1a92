from __future__ import annotations

import pytest

from tests.faults.randomness import use_seed


@pytest.fixture(autouse=True)
def seed() -> None:
    """Choose a seed for each test. Pytest shows it when a test fails."""
    use_seed()
