from __future__ import annotations

from tests.faults.slow import slow_spectator
from tests.servers import Server


async def test_slow_spectator_costs_little_and_sees_fresh_positions(
    open_server: Server,
) -> None:
    report = await slow_spectator(open_server, long=False)

    print(report)
    assert report.faults() == []
