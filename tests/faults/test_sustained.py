from __future__ import annotations

import pytest

from tests.faults.stores import STORES, Store
from tests.faults.sustained import sustained


@pytest.mark.parametrize("store", STORES)
async def test_a_steady_stream_is_stored_completely(store: Store) -> None:
    report = await sustained(store, long=False)

    # Only the long form has limits for times, because a busy machine would exceed them.
    assert report.faults() == []
    assert report.stored > 2_000
