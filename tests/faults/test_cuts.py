from __future__ import annotations

import pytest

from tests.faults.cuts import SHORT, Setup, cuts


@pytest.mark.parametrize("setup", ["one", "two"])
async def test_spectators_who_were_cut_off_miss_nothing(setup: Setup) -> None:
    report = await cuts(setup, long=False)

    assert report.faults() == []
    assert report.connects > 2 * SHORT.spectators
