from __future__ import annotations

import pytest

from tests.faults.kill9 import kill9
from tests.faults.stores import Store


@pytest.mark.parametrize(("store", "kills"), [("sqlite", 3), ("postgres", 2)])
async def test_what_was_acked_survives_a_kill(store: Store, kills: int) -> None:
    report = await kill9(store, long=False, kills=kills)

    assert report.faults() == []
    assert report.acked_before_the_last_kill > 100
