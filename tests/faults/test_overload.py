from __future__ import annotations

from tests.faults.overload import overload


async def test_overload_costs_rate_and_not_freshness() -> None:
    report = await overload("sqlite", long=False)

    print(report)
    assert report.faults() == []
    assert len(report.overload) == 3
