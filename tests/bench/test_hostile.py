"""A short attack. `make bench args=hostile` has the figures."""

from __future__ import annotations

from bench.hostile.attackers import ATTACKS
from bench.hostile.measuring import measure
from bench.hostile.scene import SHORT
from tests.servers import Server


async def test_hostile_connections_cost_others_nothing_but_time(
    uvicorn_server: Server,
) -> None:
    report = await measure(uvicorn_server, SHORT)

    print(report)
    assert report.faults() == []
    assert report.answers.keys() == ATTACKS.keys()
