"""The state of a run: stored as JSON between fixes, and recomputed from all fixes."""

from __future__ import annotations

from random import Random

import msgspec
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.truth.courses import SHORT_COURSES
from bench.truth.samples import sample
from runners.races.progress import State
from tests.races.bob import GUN, splits


def test_the_state_survives_as_json_at_every_fix() -> None:
    run = sample("out and back", 3)
    state = run.guide.begin(GUN)
    longest = 0
    for fix in run.fixes:
        wire = msgspec.json.encode(state.as_json())
        longest = max(longest, len(wire))
        assert State.from_json(orjson.loads(wire)) == state
        state, _ = run.guide.advance(state, fix)

    assert state.status == "finished"
    assert longest < 1_000


@settings(max_examples=12, deadline=None)
@given(
    random=st.randoms(use_true_random=False),
    seed=st.integers(0, 40),
    every=st.sampled_from((1, 15, 60, 120, 600)),
)
def test_a_replay_in_any_order_equals_states_that_were_stored(
    random: Random, seed: int, every: int
) -> None:
    kinds = list(SHORT_COURSES)
    run = sample(kinds[seed % len(kinds)], seed, every)
    fixes = run.fixes[:: max(len(run.fixes) // 150, 1)]
    state, seen = run.guide.begin(GUN), []
    for fix in fixes:
        stored = msgspec.json.encode(state.as_json())
        state, one = run.guide.advance(State.from_json(orjson.loads(stored)), fix)
        seen.append(one)
    shuffled = list(fixes)
    random.shuffle(shuffled)
    replay = run.guide.replay(GUN, shuffled)

    assert replay.state == state
    assert replay.splits == splits(seen)
    assert replay.shown == [(one.progress, one.uncertainty) for one in seen]


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


def test_hypotheses_survive_each_restart() -> None:
    run = sample("track, 12.5 laps", 1034)
    state = again = run.guide.begin(GUN)
    longest = 0
    for fix in run.fixes[:400]:
        state, seen = run.guide.advance(state, fix)
        carried = msgspec.json.encode(again.as_json())
        again, seen_again = run.guide.advance(
            State.from_json(orjson.loads(carried)), fix
        )
        longest = max(longest, len(carried))
        assert seen_again == seen
    assert again == state
    # Each event carries the state.
    assert longest < 1_500
