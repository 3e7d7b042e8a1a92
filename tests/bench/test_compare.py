"""`make bench args='--compare REF'`: our figures, another commit's and their ratio."""

from __future__ import annotations

from pathlib import Path

from bench.contenders import OURS, WS
from bench.workloads import Load, Workload, middle
from tests.servers import ROOT


def test_our_figures_are_divided_by_those_of_the_other_commit(tmp_path: Path) -> None:
    workload = Workload(
        "fanout",
        "Fan-out",
        "",
        [Load(OURS, "fanout", label="10 followers"), Load(WS, "fanout")],
        [("per CPU s", middle("rate"), 0), ("lost", middle("lost"), 0)],
    ).compared("abc1234", tmp_path)
    ours, other = workload.loads
    assert (ours.contender.root, other.contender.root) == (ROOT, tmp_path)
    workload.results = {
        ours.title: [{"rate": rate, "lost": 0} for rate in (1, 3_000, 9_999)],
        other.title: [{"rate": 2_000, "lost": 0}],
    }
    assert workload.table()[2:] == [
        "| Spectate, uvicorn, 10 followers | 3,000 | 0 |",
        "| Spectate, uvicorn at abc1234, 10 followers | 2,000 | 0 |",
        "| ratio | 1.50 |  |",
    ]
