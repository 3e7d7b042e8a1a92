from __future__ import annotations

from tests.faults.mqtt import mqtt


async def test_what_a_broker_acked_is_stored_after_a_kill_and_a_restart() -> None:
    report = await mqtt("sqlite", long=False)

    assert report.faults() == []
    assert (report.server_kills, report.broker_restarts) == (1, 1)
    assert report.acked > 20
