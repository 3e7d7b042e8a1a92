from __future__ import annotations

from tests.faults.restart import restart


async def test_workers_restart_in_turn_and_nobody_misses_anything() -> None:
    report = await restart("workers", long=False)

    assert report.faults() == []
    # Every spectator was asked at least once to reconnect after a given time.
    assert report.closes["1012"] >= report.sockets // 2
