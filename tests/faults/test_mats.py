from __future__ import annotations

from tests.faults.mats import mats


async def test_no_split_of_a_mat_is_lost_by_a_kill_or_a_cut_cable() -> None:
    report = await mats("mylaps", long=False)

    assert report.faults() == []
    assert (report.kills, report.cuts, report.splits) == (1, 1, 11)
