"""Made-up results: each runner slows down in a different way."""

from __future__ import annotations

import numpy as np

MATS_M = (5_000, 10_000, 15_000, 21_097.5, 25_000, 30_000, 35_000, 40_000, 42_195)


def results_csv(
    runners: int, seed: int, *, mats: tuple[float, ...] = MATS_M, fade: float = 0.15
) -> str:
    """Return results as CSV; `fade` is the mean increase of the pace up to the end.

    A quarter of the runners slow down by another 10 to 35 % somewhere in the second
    half.
    """
    rng = np.random.default_rng(seed)
    fine = np.linspace(0, mats[-1], 422)
    part = fine[1:] / mats[-1]
    lines = [",".join(f"{mat:g}" for mat in mats)]
    for _ in range(runners):
        pace = rng.uniform(0.25, 0.42) * (
            1 + rng.normal(fade, fade / 3) * part**2 + rng.normal(0, 0.03, len(part))
        )
        if rng.random() < 0.25:
            pace[part > rng.uniform(0.5, 0.85)] *= rng.uniform(1.1, 1.35)
        times = np.append(0, np.cumsum(pace * np.diff(fine)))
        lines.append(",".join(f"{t:.0f}" for t in np.interp(mats, fine, times)))
    return "\n".join(lines) + "\n"
