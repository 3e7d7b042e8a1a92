"""Which reads of a chip are splits."""

from __future__ import annotations

from runners.models import Passing
from runners.timing.chain import ChipRead, StationPass, passes_of_chip

START = StationPass(0.0, 1, 1, True)
FIVE = StationPass(5_000.0, 2, 1, False)
TEN = StationPass(10_000.0, 3, 1, False)
FINISH = StationPass(42_195.0, 4, 1, False)
STATIONS = {1: [START], 2: [FIVE], 3: [TEN], 4: [FINISH], 5: []}
State = Passing.State


def splits(
    *reads: tuple[int, float], stations: dict[int, list[StationPass]] = STATIONS
) -> tuple[dict[StationPass, float], list[str]]:
    """Return the splits of reads (station, seconds after the gun), and their states."""
    outcome = passes_of_chip(
        [ChipRead(pk, station, 1000 + at) for pk, (station, at) in enumerate(reads)],
        stations,
        gun=1000.0,
        top_speed=12.5,
    )
    times = {passed: read.time - 1000 for passed, read in outcome.splits.items()}
    return times, [outcome.states[pk] for pk in range(len(reads))]


def test_the_last_read_at_the_start_and_the_first_elsewhere_count() -> None:
    found, states = splits((1, -300), (1, 40), (1, 43), (2, 1500), (2, 1504))
    assert found == {START: 43, FIVE: 1500}
    assert states == ["early", "repeat", "used", "used", "repeat"]


def test_the_order_in_which_reads_arrive_does_not_matter() -> None:
    reads = [(2, 1500.0), (1, 40.0), (3, 3000.0), (2, 1504.0)]
    assert splits(*reads)[0] == splits(*reversed(reads))[0]


def test_a_missing_mat_leaves_the_others() -> None:
    assert splits((1, 40), (3, 3000))[0] == {START: 40, TEN: 3000}


def test_a_chip_carried_past_the_finish_is_outvoted() -> None:
    reads = [(1, 40.0), (2, 1500.0), (4, 5000.0)]
    assert splits(*reads)[0] == {START: 40, FIVE: 1500, FINISH: 5000}
    found, states = splits(*reads, (3, 5100.0))
    assert found == {START: 40, FIVE: 1500, TEN: 5100}
    assert states[2] == State.ORDER


def test_one_mat_is_start_laps_and_finish() -> None:
    laps = [
        StationPass(0.0, 1, 1, True),
        StationPass(5_000.0, 2, 1, False),
        StationPass(10_000.0, 3, 1, False),
    ]
    found, _ = splits(
        (1, 10), (1, 12), (1, 1400), (1, 2900), (1, 2990), stations={1: laps}
    )
    assert found == dict(zip(laps, (12, 1400, 2900), strict=True))


def test_reads_at_a_station_without_checkpoint_are_not_used() -> None:
    assert splits((5, 100)) == ({}, [State.STATION])


def test_nobody_is_faster_than_the_top_speed_of_the_race() -> None:
    assert splits((1, 10), (2, 60)) == ({START: 10}, [State.USED, State.ORDER])
