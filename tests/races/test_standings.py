from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from runners.races.standings import (
    Gap,
    Row,
    SplitTime,
    gap_of,
    gaps_of,
    in_group,
    legs,
    matching,
    standings,
)


def row(bib: str, **fields: Any) -> Row:
    given: dict[str, Any] = {
        "entry": int("".join(filter(str.isdigit, bib)) or 0),
        "runner": 0,
        "code": bib,
        "name": f"Runner {bib}",
        "colour": "",
        "bib": bib,
        "category": "",
        "club": "",
        "wave": "",
        "status": "started",
        "gun": 0.0,
    }
    return Row(**given | fields)


def split(checkpoint: int, time: float, number: int = 1) -> SplitTime:
    return SplitTime(checkpoint, number, 1_000.0 * checkpoint, time, 1.0, False)


def finisher(bib: str, time: float, **fields: Any) -> Row:
    return row(bib, status="finished", finished=time, **fields)


def order(rows: list[Row], **given: Any) -> list[tuple[str, int | None]]:
    return [(ranked.row.bib, ranked.rank) for ranked in standings(rows, **given)]


FIELD = [
    row("8", status="dns"),
    row("9", status="dsq"),
    row("7", status="dnf", progress=9_000.0),
    row("6", status="registered", gun=60.0),
    row("5", progress=3_000.0),
    row("4", progress=8_000.0),
    finisher("3", 2_400.0),
    finisher("2", 2_300.0),
]


def test_finishers_come_first_and_then_the_furthest() -> None:
    assert order(FIELD) == [
        ("2", 1),
        ("3", 2),
        ("4", 3),
        ("5", 4),
        ("6", None),
        ("7", None),
        ("8", None),
        ("9", None),
    ]


def test_dnf_are_ordered_by_distance_and_come_before_dns() -> None:
    rows = [
        row("1", status="dns"),
        row("2", status="dnf"),
        row("3", status="dnf", progress=5_000.0),
        row("4", status="dnf", splits=(split(9, 3_000.0),)),
        row("5", status="dnf", progress=5_000.0),
    ]
    assert order(rows) == [(bib, None) for bib in ("4", "3", "5", "2", "1")]


def test_the_order_does_not_depend_on_the_order_of_rows() -> None:
    shuffled = list(FIELD)
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        assert order(shuffled) == order(FIELD)


def test_gun_and_chip_rank_differently() -> None:
    rows = [finisher("1", 2_400.0, started=5.0), finisher("2", 2_410.0, started=60.0)]
    assert order(rows) == [("1", 1), ("2", 2)]
    assert order(rows, clock="chip") == [("2", 1), ("1", 2)]


def test_each_wave_has_a_separate_gun() -> None:
    rows = [
        finisher("1", 2_400.0, wave="Red"),
        finisher("2", 2_700.0, gun=600.0, wave="Blue"),
    ]
    assert order(rows) == [("2", 1), ("1", 2)]


def test_equal_times_have_equal_ranks() -> None:
    rows = [finisher("1", 2_400.0), finisher("2", 2_400.0), finisher("10", 2_500.0)]
    assert order(rows) == [("1", 1), ("2", 1), ("10", 3)]


def test_a_split_counts_without_progress() -> None:
    rows = [row("1", progress=4_000.0), row("2", splits=(split(5, 900.0),))]
    assert order(rows) == [("2", 1), ("1", 2)]


def test_level_runners_are_ordered_by_their_last_split() -> None:
    rows = [row("1", splits=(split(5, 910.0),)), row("2", splits=(split(5, 900.0),))]
    assert order(rows) == [("2", 1), ("1", 2)]


def test_a_finisher_without_a_time_is_last_of_the_finishers() -> None:
    rows = [row("1", status="finished"), finisher("2", 9_000.0), row("3", progress=9e3)]
    assert order(rows) == [("2", 1), ("1", 2), ("3", 3)]


def test_bibs_are_ordered_naturally() -> None:
    rows = [row(bib, status="dns") for bib in ("10", "9", "A2", "A10")]
    assert [bib for bib, _ in order(rows)] == ["9", "10", "A2", "A10"]


def test_categories_and_waves_have_separate_ranks() -> None:
    rows = [
        finisher("1", 1.0, category="M"),
        finisher("2", 2.0, category="W", wave="Red"),
        finisher("3", 3.0, category="M", wave="Red"),
        finisher("4", 4.0),
    ]
    ranks = [(p.category_rank, p.wave_rank) for p in standings(rows)]
    assert ranks == [(1, None), (1, 1), (2, 2), (None, None)]


def test_groups_and_searches_keep_the_order() -> None:
    rows = [
        finisher("12", 1.0, category="M", name="Bob Marsh"),
        finisher("2", 2.0, category="W", name="Alice"),
        finisher("21", 3.0, category="M", name="Marshall"),
    ]
    ranked = standings(rows)
    assert [p.row.bib for p in in_group(ranked, "M", "")] == ["12", "21"]
    assert in_group(ranked, "M", "Red") == []
    assert [p.row.bib for p in matching(ranked, " MARSH")] == ["12", "21"]
    assert [p.row.bib for p in matching(ranked, "2")] == ["2", "21"]


@pytest.mark.parametrize(
    ("first", "other", "gap"),
    [
        (finisher("1", 100.0), finisher("2", 130.0), Gap(seconds=30.0)),
        # The gap at the last checkpoint that both have passed.
        (
            row("1", splits=(split(1, 300.0), split(2, 600.0)), progress=2_900.0),
            row("2", splits=(split(1, 320.0),), progress=1_500.0),
            Gap(20.0, 1_400.0),
        ),
        (
            finisher("1", 700.0, splits=(split(1, 300.0), split(2, 600.0))),
            row("2", splits=(split(1, 320.0), split(2, 650.0))),
            Gap(seconds=50.0),
        ),
        (row("1", progress=900.0), row("2", progress=400.0), Gap(metres=500.0)),
        (row("1", progress=900.0), row("2", status="dnf"), Gap()),
        # The gap of a wave that started ten minutes later counts from its gun.
        (finisher("1", 100.0), finisher("2", 730.0, gun=600.0), Gap(seconds=30.0)),
        (
            row("1", splits=(split(1, 300.0),), progress=1_200.0),
            row("2", splits=(split(1, 920.0),), progress=1_100.0, gun=600.0),
            Gap(20.0, 100.0),
        ),
        (
            finisher("1", 1_300.0, splits=(split(1, 900.0),), gun=600.0),
            row("2", splits=(split(1, 320.0),)),
            Gap(seconds=20.0),
        ),
    ],
)
def test_a_gap_is_measured_where_both_have_been(
    first: Row, other: Row, gap: Gap
) -> None:
    leader, behind = standings([first, other])
    assert gap_of(leader, leader) == Gap()
    assert gap_of(behind, leader) == gap


def test_gaps_increase_with_the_rank() -> None:
    group = standings(
        [
            finisher("1", 900.0, splits=(split(1, 300.0), split(2, 600.0))),
            finisher("2", 1_000.0, splits=(split(1, 310.0), split(2, 650.0))),
            # The last split of each is older than that of the runner ahead.
            row("3", splits=(split(1, 320.0), split(2, 720.0)), progress=2_500.0),
            row("4", splits=(split(1, 330.0),), progress=1_900.0),
            row("5", splits=(split(1, 290.0),), progress=1_800.0),
            row("6", status="dnf"),
        ]
    )
    assert [gap.seconds for gap in gaps_of(group)] == [
        *(None, 100.0, 120.0, 120.0, 120.0, None)
    ]


def test_laps_are_compared_lap_by_lap() -> None:
    lap = SplitTime(1, 2, 5_000.0, 1_500.0, 1.0, False)
    first = row("1", splits=(split(1, 300.0), lap), progress=5_100.0)
    other = replace(first, entry=2, bib="2", splits=(split(1, 330.0),), progress=2e3)
    leader, behind = standings([first, other])
    assert gap_of(behind, leader).seconds == 30.0


def test_legs_have_the_pace_since_the_previous_split() -> None:
    runner = row("1", started=10.0, splits=(split(0, 10.0), split(2, 610.0)))
    start, second = legs(runner)
    assert (start.elapsed, start.pace) == (10.0, None)
    assert second.elapsed == 610.0
    assert second.pace == pytest.approx(0.3)
    assert legs(runner, "chip")[1].elapsed == 600.0
