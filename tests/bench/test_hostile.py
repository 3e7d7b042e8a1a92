"""A short attack. `make bench args=hostile` has the figures."""

from __future__ import annotations

from bench.hostile.attackers import ATTACKS, EXPECTED
from bench.hostile.measuring import Report, measure
from bench.hostile.scene import SHORT
from tests.servers import Server


async def test_hostile_connections_cost_others_nothing_but_time(
    uvicorn_server: Server,
) -> None:
    report = await measure(uvicorn_server, SHORT)

    print(report)
    assert report.faults() == []
    assert report.answers.keys() == ATTACKS.keys()


def test_each_server_may_answer_as_documented() -> None:
    answers = {kind: {min(some): 1} for kind, some in EXPECTED["daphne"].items()}
    assert "pipelines" not in answers
    daphne = Report("daphne", 1, 1, answers=answers)
    assert daphne.faults() == []
    answers["frames"] = {"closed 1006": 1}
    uvicorn = Report("uvicorn", 1, 1, answers=answers)
    assert daphne.faults() == [] and uvicorn.faults() == ["frames: closed 1006"]
