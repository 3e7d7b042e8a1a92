from __future__ import annotations

import pytest

from tests.faults.trust_revocation import CHANGES, SETUPS, Setup, revocation, started


@pytest.mark.parametrize("setup", SETUPS)
async def test_nothing_of_a_runner_comes_once_a_right_has_gone(setup: Setup) -> None:
    with started(setup) as server:
        report = await revocation(server, long=False)
        server.stop()

        assert "Traceback" not in server.log, server.log
    print(report)
    assert report.faults() == []
    assert len(report.last_position_ms) == len(CHANGES)
