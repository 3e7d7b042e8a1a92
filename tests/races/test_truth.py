from __future__ import annotations

import pytest

from tests import courses
from tests.races import truth
from tests.races.shapes import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_progress_and_splits_match_simulated_runs(kind: str) -> None:
    """The short form of `python -m tests.races.truth --long`."""
    table: dict[str, truth.Score] = {}
    truth.scores(kind, range(5), table=table)

    for name, score in table.items():
        known = score.fixes - score.unknown
        assert known > 0.9 * score.fixes, name
        assert score.within >= 0.99 * known, f"{name}: {score.row()}"
        assert score.far == 0, f"{name}: another lap or leg: {score.row()}"
        assert score.missed == score.false_splits == 0, score.notes
        assert score.false_finishes == score.no_finish == 0, score.notes
        assert score.split_within >= score.splits - 1, score.notes


@pytest.mark.parametrize("name", courses.NAMES)
def test_progress_matches_simulated_runs_on_a_realistic_course(
    name: courses.Name,
) -> None:
    table: dict[str, truth.Score] = {}
    truth.real(name, range(3, 4), table=table)

    score = table[name]
    assert score.within >= 0.98 * (score.fixes - score.unknown), score.row()
    assert score.missed == score.false_splits == score.false_finishes == 0, score.notes
