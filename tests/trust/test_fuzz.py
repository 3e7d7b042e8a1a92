from __future__ import annotations

from tests.faults.randomness import use_seed
from tests.faults.trust_fuzz import fuzz
from tests.servers import Server


async def test_no_frame_and_no_handshake_hurts_others(open_server: Server) -> None:
    use_seed()
    # The fixture checks that the log has no traceback.
    report = await fuzz(open_server, long=False)

    print(report)
    assert report.faults() == []
    assert report.frames > 2_000
