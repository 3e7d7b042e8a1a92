"""Laws of privacy zones: how large the hidden circle is, and its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.zones.streets import Floats


@dataclass(frozen=True)
class Law:
    """A law for one radius; all distances in metres.

    The centre of the hidden circle is `nearest` to `farthest` from the home, in any
    direction. `density` is the probability of a distance, per area. Each run, with both
    its ends, has one of the `radii`.
    """

    name: str
    nearest: float
    farthest: float
    density: Callable[[Floats], Floats]
    radii: tuple[float, ...]

    def place(self, home: Floats, dice: np.random.Generator) -> Floats:
        """Return a centre for a home (2,)."""
        distances = np.linspace(self.nearest, self.farthest, 1_000)
        weights = self.density(distances) * distances + 1e-12
        distance = dice.choice(distances, p=weights / weights.sum())
        angle = dice.uniform(0, 2 * np.pi)
        return np.asarray(home + distance * np.array([np.cos(angle), np.sin(angle)]))

    def prior(self, distances: Floats) -> Floats:
        """Return the density of the home at these distances from the centre."""
        inside = (distances >= self.nearest) & (distances <= self.farthest)
        return np.where(inside, self.density(np.maximum(distances, 1.0)), 0.0)


def fixed(radius: float) -> Law:
    """Return a circle around the home itself."""
    return Law("fixed centre", 0, 0, np.ones_like, (radius,))


def daily(radius: float) -> Law:
    """Return Spectate's first law: a small shift, and a radius of the day.

    Of its 256 radii, five are used.
    """
    return Law(
        "daily radius",
        0.2 * radius,
        0.6 * radius,
        lambda distances: 1 / distances,
        tuple(radius * (1 + share / 16) for share in range(5)),
    )


def shifted(radius: float) -> Law:
    """Return Spectate's law: a fixed circle, with the home anywhere near its centre."""
    from runners.models import Zone

    farthest, size = Zone.FARTHEST_SHIFT * radius, Zone.HIDDEN_RADII * radius
    return Law("shifted circle", 0, farthest, np.ones_like, (size,))
