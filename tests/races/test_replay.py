"""The state of a run: stored as JSON between fixes, and recomputed from all fixes."""

from __future__ import annotations

from random import Random

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.races.progress import State
from tests.races.bob import splits
from tests.races.runs import GUN, sample
from tests.races.shapes import KINDS


def test_the_state_survives_as_json_at_every_fix() -> None:
    run = sample("out and back", 3)
    state = run.guide.begin(GUN)
    longest = 0
    for fix in run.fixes:
        wire = orjson.dumps(state.as_json())
        longest = max(longest, len(wire))
        assert State.from_json(orjson.loads(wire)) == state
        state, _ = run.guide.advance(state, fix)

    assert state.status == "finished"
    assert longest < 1_000


@settings(max_examples=12, deadline=None)
@given(random=st.randoms(use_true_random=False), seed=st.integers(0, 40))
def test_a_replay_is_the_same_in_any_order(random: Random, seed: int) -> None:
    kinds = list(KINDS)
    run = sample(kinds[seed % len(kinds)], seed)
    fixes = run.fixes[:: max(len(run.fixes) // 150, 1)]
    shuffled = list(fixes)
    random.shuffle(shuffled)

    assert run.guide.replay(GUN, shuffled) == run.guide.replay(GUN, fixes)


def test_a_replay_equals_the_advanced_state() -> None:
    run = sample("four laps", 2)
    state, seen = run.guide.begin(GUN), []
    for fix in run.fixes:
        state, one = run.guide.advance(state, fix)
        seen.append(one)
    replay = run.guide.replay(GUN, run.fixes)

    assert replay.state == state
    assert replay.splits == splits(seen)
    assert len(replay.progress) == len(replay.held) == len(run.fixes)
