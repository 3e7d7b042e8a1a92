from __future__ import annotations

from tests.faults.outage import outage


async def test_nothing_is_lost_while_postgresql_or_redis_is_away() -> None:
    report = await outage("two", long=False)

    print(report)
    assert report.faults() == []
    assert report.acks_without_redis > 0
    assert report.shown > 100
