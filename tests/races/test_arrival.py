"""Priors learned from results, and their evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from runners.races.arrival.backtest import play, run_between, samples_at, scores
from runners.races.arrival.learning import learn
from runners.races.arrival.pacing import Prior, shipped
from runners.races.arrival.ranges import Passed, ranges_of
from runners.races.arrival.results import Results, ResultsError, read_results
from runners.races.arrival.slopes import Slopes
from tests.races.finishers import results_csv

DISTANCES_M = [10_000.0, 21_097.5, 30_000.0]


def field(runners: int, seed: int, fade: float = 0.15) -> Results:
    return read_results(results_csv(runners, seed, fade=fade).encode())


@pytest.fixture(scope="module")
def learned() -> Prior:
    """A prior of two races. Learning takes most of the time of these tests."""
    return learn([field(600, 1), field(600, 2, fade=0.12)], "two races")


@pytest.mark.parametrize("wobble", [0.0, 0.04])
def test_ranges_hold_in_a_race_that_was_not_learned_from(
    learned: Prior, wobble: float
) -> None:
    results = field(200, 3, fade=0.13)
    found = scores(
        list(
            play(
                results,
                Slopes.flat(42_195),
                DISTANCES_M,
                prior=learned,
                wobble=wobble,
            ),
        )
    )
    mae = sum(score.mae_s for score in found)
    assert mae / sum(score.naive_mae_s for score in found) < 0.8
    assert 0.75 < np.mean([score.held for score in found]) < 0.9


def test_ranges_hold_between_the_mats(learned: Prior) -> None:
    results, slopes = field(100, 3, fade=0.13), Slopes.flat(42_195)
    held = []
    for row, times in enumerate(results.times):
        dice = np.random.default_rng(row)
        run = run_between(results.distances, times, 0.04, dice)
        for here in (10_000.0, 30_000.0):
            samples = samples_at(run, results.distances, here)
            ahead = [here + more for more in (300, 1_000, 3_000)]
            ranges = ranges_of(ahead, samples, slopes, learned)
            held += [
                low <= run.time_at(d) <= high for d, (low, _, high) in ranges.items()
            ]
    assert 0.7 < np.mean(held) < 0.9


def test_the_range_of_an_ultra_is_a_share_of_the_time_left() -> None:
    slopes = Slopes.flat(100_000)
    samples = [Passed(0, 0), Passed(6_750, 15_000), Passed(13_500, 30_000)]
    early, middle, late = ranges_of([100_000.0], samples, slopes, shipped())[100_000]
    assert late - early < 0.35 * (middle - 13_500)


def walks(runners: int, seed: int, crowd: float = 0.0) -> Results:
    """A race in which runners keep what they have lost, and fade a little more.

    `crowd` is the deviation of the logarithm of the pace up to the first mat.
    """
    dice = np.random.default_rng(seed)
    mats = np.append(np.arange(5_000.0, 40_001.0, 5_000.0), 42_195.0)
    steps = dice.normal(0.0, 0.05, (runners, len(mats)))
    steps[:, mats > 20_000] += 0.03
    steps[:, 0] += np.log(dice.uniform(0.25, 0.45, runners))
    paces = np.exp(steps.cumsum(axis=1))
    paces[:, 0] *= np.exp(dice.normal(0.0, crowd, runners))
    times = (paces * np.diff(mats, prepend=0.0)).cumsum(axis=1)
    return Results(mats, times, np.arange(runners))


def test_the_next_mat_is_predicted_from_the_recent_pace() -> None:
    prior = learn([walks(150, 1)], "the year before")
    slopes = Slopes.flat(42_195)
    found = scores(play(walks(100, 2), slopes, [30_000.0], prior=prior))
    next_mat = found[0]
    assert next_mat.mae_s < 0.95 * min(next_mat.last_mae_s, next_mat.naive_mae_s)


def test_after_a_crowded_start_the_next_mat_is_as_unsure_as_later_ones() -> None:
    prior = learn([walks(300, 1, crowd=0.1)], "the year before")
    results = walks(300, 2, crowd=0.1)
    found = scores(play(results, Slopes.flat(42_195), [5_000.0, 10_000.0], prior=prior))
    held = {(score.asked_at, score.place): score.held for score in found}
    assert held[5_000, 10_000] == pytest.approx(held[10_000, 15_000], abs=0.08)


def test_results_of_the_same_distance_replace_the_previous_prior() -> None:
    mats = (2_500, 5_000, 7_500, 10_000)
    text = results_csv(300, 1, mats=mats, fade=0.2)
    results = read_results(text.encode())
    prior = learn([results], "last year", before=shipped())
    assert prior.length == 10_000
    slopes = Slopes.flat(10_000)
    ours, without = (
        sum(
            score.mae_s for score in scores(list(play(results, slopes, [5e3], prior=p)))
        )
        for p in (prior, None)
    )
    assert ours < 0.8 * without


def test_a_prior_is_unchanged_by_a_json_round_trip() -> None:
    assert Prior.from_json(shipped().as_json()) == shipped()


def test_the_shipped_prior_names_its_source() -> None:
    assert shipped().runners == 24_813
    assert "boston_2013" in shipped().source
    assert shipped().learned.startswith("2026-")


def test_a_wobbling_run_reaches_each_mat_at_its_split() -> None:
    mats, times = np.array([5e3, 1e4, 2e4]), np.array([1500.0, 3100.0, 6500.0])
    run = run_between(mats, times, 0.04, np.random.default_rng(1))
    assert [run.time_at(mat) for mat in mats] == pytest.approx(times.tolist())
    paces = np.diff(run.times) / np.diff(run.distances)
    assert 0.03 < np.std(np.log(paces)) < 0.06
    assert (np.diff(run.times) > 0).all()


def test_rows_without_usable_times_are_counted() -> None:
    rows = ("1500,3000,6100", "1500,1400,6100", ",,", "", "0,1,2", "1500,,6100")
    results = read_results("\n".join(["5000,10000,20000", *rows]).encode())
    # A row without splits counts, a blank line does not.
    assert results.rows.tolist() == [0, 4]
    assert (results.incomplete, results.left_out) == (1, 3)


@pytest.mark.parametrize(
    "text",
    [
        "5000,10000,21097.5\n1500,3000,6400.5\n1500,,\n",
        "\ufeff5000;10000;21097,5\r\n1500;3000;6400,5\r\n1500;DNF;-\r\n",
        '"5000","10000","21097.5",\n"1500"," 3000 ","6400.5",,\n1500\n\n',
        "5000,10000,21097.5\n25:00,00:50:00,1:46:40.5\n0:25:00\n",
        "5000;10000;21097,5\n25:00;50:00;106:40,5\n25:00;DNF\n",
    ],
)
def test_spreadsheets_write_the_same_results_differently(text: str) -> None:
    results = read_results(text.encode())
    assert results.distances.tolist() == [5_000, 10_000, 21_097.5]
    assert results.times[0].tolist() == [1500, 3000, 6400.5]
    assert np.isnan(results.times[1]).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("bib,name\n1,2\n", "distances in metres"),
        ("10000,5000\n1,2\n", "increase"),
        ("5000\n1500\n", "from 2 to"),
        (",,\n1,2,3\n", "from 2 to"),
        ("5000,1e300\n1,2\n", "longer than 10,000 km"),
        ("10,42.195\n3000,13000\n", "to be in metres"),
        ("5000,10000\n", "no results"),
        ("5000,10000\n1500,fast\n", "Line 2: a split has to be"),
        ("5000,10000\n25:00,0:70:00\n", "Line 2: .* or h:mm:ss"),
        ("5000,10000\n25:00,1:0:0\n", "Line 2: .* or h:mm:ss"),
        ("21097,42195\n25,52\n", "faster than 12.5 m/s.* in seconds, or h:mm:ss"),
        ("21097,42195\n1:30,3:10\n,3:12\n", "faster than 12.5 m/s"),
        ("5000,10000\n1500,3000,4500\n", "Line 2 has 3 cells"),
        ("5000,10000\n3000,1500\n", "no row increase"),
        ("5000,10000\n\xff\n", "UTF-8"),
    ],
)
def test_bad_results_are_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        read_results(text.encode("latin-1"))


def test_too_few_results_are_refused() -> None:
    with pytest.raises(ResultsError, match="At least 50"):
        learn([field(49, 1)], "few")
