"""Courses with folds that are closer together than the noise."""

from __future__ import annotations

import orjson
import pytest

from runners.races.progress import State
from tests.races import truth
from tests.races.runs import GUN, sample

# The noise is 30 m, without speed or heading. No constant was tuned on these runs.
TRACK = "track, 12.5 laps", 1004
LEGS = "switchbacks", 1014


@pytest.mark.parametrize(("kind", "seed"), [TRACK, LEGS])
def test_no_lap_or_leg_is_gained_or_lost_in_noise(kind: str, seed: int) -> None:
    table: dict[str, truth.Score] = {}
    truth.score_run(kind, sample(kind, seed), table, kind)

    score = table[kind]
    assert score.within > 0.98 * (score.fixes - score.unknown), score.row()
    assert score.far == score.missed == score.false_splits == 0, score.notes
    assert score.false_finishes == score.no_finish == 0, score.notes


def test_hypotheses_survive_each_restart() -> None:
    run = sample(*TRACK)
    state = again = run.guide.begin(GUN)
    longest = 0
    for fix in run.fixes[:400]:
        state, seen = run.guide.advance(state, fix)
        carried = orjson.dumps(again.as_json())
        again, seen_again = run.guide.advance(
            State.from_json(orjson.loads(carried)), fix
        )
        longest = max(longest, len(carried))
        assert seen_again == seen
    assert again == state
    # Each event carries the state.
    assert longest < 1_500
