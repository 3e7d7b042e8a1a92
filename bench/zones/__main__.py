"""Attack privacy zones: `make bench args=zones`.

    python -m bench.zones [--homes 1000] [--law "daily radius"] [--radius 300]

Each home has 20 runs in new directions, and two rounds that a runner with habits
repeats. For each attacker, the table has the share of homes found within 50 m, in per
cent, and the mean hidden metres along the path at each end of a run. `--write` keeps
the results in bench/zones/results.csv and docs/privacy.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence

import django
import numpy as np

from bench.zones import attacks
from bench.zones.laws import Law, daily, fixed, shifted
from bench.zones.results import SEEN, Row, keep, table
from bench.zones.runs import FARTHEST_M, Walker, Ways, walk
from bench.zones.streets import Floats, build

SEED = 1
BLOCKS = 74
# Homes are in the middle of the town, so that no run leaves it.
MIDDLE_M = 800.0
RUNS = max(SEEN.values())
RADII = (100, 200, 300, 500)
LAWS = (fixed, daily, shifted)
# Where an attacker without a map looks, around the centre of the hidden circle.
LINE_M = np.arange(-800, 801, 50.0)
GRID_M = np.stack(np.meshgrid(LINE_M, LINE_M), -1).reshape(-1, 2)


def attacks_on(
    law: Law, walker: Walker, homes: int
) -> Iterator[tuple[dict[str, list[bool]], float]]:
    """Yield, for each home, whether each attacker finds it, for each of `SEEN`.

    Also yields the mean hidden metres along the path of an end.
    """
    dice = np.random.default_rng(SEED)
    houses = walker.streets.houses
    middle = np.flatnonzero(np.abs(houses).max(-1) < MIDDLE_M)
    for home in dice.permutation(middle)[:homes]:
        ways = walk(walker, np.repeat(home, 2 * RUNS), dice)
        centre = law.place(houses[home], dice)
        radii = np.repeat(dice.choice(law.radii, RUNS), 2)
        ends = attacks.observe(walker, ways, centre, radii, dice)
        found = {}
        for name, guesses in _guesses(law, walker, ways, centre, radii, ends).items():
            misses = [np.hypot(*(guess - houses[home])) for guess in guesses]
            found[name] = [bool(miss <= attacks.FOUND_M) for miss in misses]
        yield found, float(ends.hidden_m.mean())


def _guesses(
    law: Law,
    walker: Walker,
    ways: Ways,
    centre: Floats,
    radii: Floats,
    ends: attacks.Ends,
) -> dict[str, list[Floats]]:
    """Return where each attacker supposes the home, for each of `SEEN`."""
    houses = walker.streets.houses
    counts = [slice(2 * runs) for runs in SEEN.values()]
    allowed, prior = attacks.candidates_of(walker, law, centre)
    # Attackers without the law look at all houses near the ends.
    near = houses[np.hypot(*(houses - centre).T) < max(law.radii)]
    if law.farthest == 0:
        best = [
            attacks.known_radius(ends.places[some], near, law.radii[0])
            for some in counts
        ]
    else:
        scores = attacks.likelihoods(walker, ways, ends, centre, radii, allowed)
        best = [
            attacks.best(houses[allowed], prior + scores[some].sum(0))
            for some in counts
        ]
    grid = GRID_M + centre
    return {
        "circle fit": [attacks.circle_fit(ends.places[some]) for some in counts],
        "exit model": [attacks.exit_model(ends[some], grid) for some in counts],
        "exit model, streets": [
            attacks.exit_model(ends[some], near[::4]) for some in counts
        ],
        "law and streets": best,
    }


def measure(law: Law, radius: int, walker: Walker, homes: int) -> list[Row]:
    """Attack a law and return the rows of its results."""
    done = list(attacks_on(law, walker, homes))
    first = {
        "law": law.name,
        "radius": str(radius),
        "homes": str(len(done)),
        "hidden_m": f"{np.mean([hidden for _, hidden in done]):.0f}",
    }
    rows = []
    for name in done[0][0]:
        shares = 100 * np.mean([found[name] for found, _ in done], 0)
        seen = {s: f"{share:.1f}" for s, share in zip(SEEN, shares, strict=True)}
        rows.append(first | {"attacker": name} | seen)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.zones",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--homes", type=int, default=1_000)
    parser.add_argument("--law", help="only this one")
    parser.add_argument("--radius", type=int, choices=RADII)
    parser.add_argument("--write", action="store_true", help="keep the results")
    options = parser.parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spectate.settings")
    django.setup()
    walker = Walker.of(build(SEED, BLOCKS))
    for radius in [options.radius] if options.radius else RADII:
        for law in (law_of(radius) for law_of in LAWS):
            # No run may end inside the hidden circle.
            is_left = law.farthest + max(law.radii) < FARTHEST_M
            if is_left and options.law in (None, law.name):
                began = time.process_time()
                rows = measure(law, radius, walker, options.homes)
                print(table(rows), f"{time.process_time() - began:.0f} s of CPU\n")
                if options.write:
                    keep(rows)


if __name__ == "__main__":
    main()
