from __future__ import annotations

from tests.faults.churn import churn
from tests.servers import Server


async def test_sockets_that_come_and_go_leave_nothing(open_server: Server) -> None:
    report = await churn(open_server, long=False)

    assert report.faults() == []
