from __future__ import annotations

from tests.faults.seed2015 import client_of_2015
from tests.servers import Server


async def test_client_of_2015_is_served_unchanged(open_server: Server) -> None:
    report = await client_of_2015(open_server, long=False)

    assert report.faults() == []
    # Half of the positions that this client sends are out of range.
    assert 400 < report.runs[0].invalid < 600
