"""Results of races that never took place: runners who fade, each in their own way."""

from __future__ import annotations

import numpy as np

MATS = (5_000, 10_000, 15_000, 21_097.5, 25_000, 30_000, 35_000, 40_000, 42_195)


def results_csv(
    runners: int, seed: int, *, mats: tuple[float, ...] = MATS, fade: float = 0.15
) -> str:
    """Return a file of results; the pace is slower by `fade` at the end, give or take.

    A quarter of the runners slow down by another tenth to third somewhere on the second
    half.
    """
    dice = np.random.default_rng(seed)
    fine = np.linspace(0, mats[-1], 422)
    part = fine[1:] / mats[-1]
    lines = [",".join(f"{mat:g}" for mat in mats)]
    for _ in range(runners):
        pace = dice.uniform(0.25, 0.42) * (
            1 + dice.normal(fade, fade / 3) * part**2 + dice.normal(0, 0.03, len(part))
        )
        if dice.random() < 0.25:
            pace[part > dice.uniform(0.5, 0.85)] *= dice.uniform(1.1, 1.35)
        times = np.append(0, np.cumsum(pace * np.diff(fine)))
        lines.append(",".join(f"{t:.0f}" for t in np.interp(mats, fine, times)))
    return "\n".join(lines) + "\n"
