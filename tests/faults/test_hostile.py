from __future__ import annotations

from tests.faults.hostile import hostile
from tests.servers import Server


async def test_hostile_frames_get_one_answer_each(open_server: Server) -> None:
    # The canary and the fixture, which checks the log, make the other assertions.
    report = await hostile(open_server, long=False)

    assert report.wrong == {}
