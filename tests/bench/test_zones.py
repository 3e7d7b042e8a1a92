"""The attacks on privacy zones, on few homes, and their results in the docs."""

from __future__ import annotations

import numpy as np
import pytest

from bench.zones import attacks
from bench.zones.__main__ import measure
from bench.zones.laws import daily, fixed, shifted
from bench.zones.results import BEGIN, DOCUMENT, END, SEEN, read, table
from bench.zones.runs import Walker, walk
from bench.zones.streets import build
from runners.views.me.forms import HOMES_FOUND


@pytest.fixture(scope="module")
def town() -> Walker:
    return Walker.of(build(1, 50))


def test_a_circle_fit_finds_the_centre_of_ends_on_a_circle() -> None:
    angles = np.array([0.1, 1.0, 2.5, 4.0])
    ends = np.stack([700 + 300 * np.cos(angles), 300 * np.sin(angles)], -1)
    assert attacks.circle_fit(ends) == pytest.approx([700, 0], abs=1e-6)


def shares(rows: list[dict[str, str]], attacker: str) -> list[float]:
    """Return the shares of homes that an attacker finds, in per cent."""
    row = next(row for row in rows if row["attacker"] == attacker)
    return [float(row[seen]) for seen in SEEN]


def test_a_zone_around_the_home_itself_is_always_found(town: Walker) -> None:
    rows = measure(fixed(200), 200, town, 3)
    for attacker in ("circle fit", "law and streets"):
        # After 5 and 20 runs.
        assert shares(rows, attacker)[1:3] == [100, 100]


def test_most_homes_are_found_under_the_law_of_a_daily_radius(town: Walker) -> None:
    rows = measure(daily(200), 200, town, 6)
    assert shares(rows, "law and streets")[2] > 50
    assert 200 < float(rows[0]["hidden_m"]) < 1_000


def test_few_homes_are_found_under_the_present_law(town: Walker) -> None:
    rows = measure(shifted(100), 100, town, 6)
    assert shares(rows, "circle fit")[2] < 50
    # After one run.
    assert shares(rows, "law and streets")[0] < 50


def test_tracks_begin_where_they_leave_the_hidden_circle(town: Walker) -> None:
    house = int(np.argmin(np.hypot(*town.streets.houses.T)))
    dice = np.random.default_rng(3)
    centre = town.streets.houses[house] + [50.0, 20.0]
    ways = walk(town, np.repeat(house, 50), dice)
    ends = attacks.observe(town, ways, centre, np.full(50, 200.0), dice)
    away = np.hypot(*(ends.places - centre).T)
    assert away == pytest.approx(np.full(50, 200.0), abs=6 * attacks.GPS_M)
    assert (ends.hidden_m > 200 - 54 - 2 * attacks.GPS_M).all()


def test_the_table_in_the_docs_is_that_of_the_results() -> None:
    text = DOCUMENT.read_text()
    shown = text.partition(BEGIN)[2].partition(END)[0]
    assert shown == table(read())


def test_the_page_of_zones_has_the_figures_of_the_results() -> None:
    measured = {}
    for row in read():
        if (row["law"], row["attacker"]) == ("shifted circle", "law and streets"):
            found, rounds = float(row["20 runs"]), float(row["two rounds"])
            measured[int(row["radius"])] = (round(found), round(rounds))
    assert measured == HOMES_FOUND
