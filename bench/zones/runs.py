"""Runs from a home along streets, in a direction that wanders.

A run has two ends, the way out and the way back; both are generated outwards from the
home. At each junction a runner prefers the street that leads in their direction, and
the direction turns now and then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.zones.streets import Floats, Indices, Streets

DIRECTIONS = 16
# How strongly a street in the direction is preferred (von Mises concentration), and the
# probability, for each side, that the direction turns by a step at a junction. Both are
# chosen so that homes under the first law are found as often as in an earlier, separate
# measurement: 94, 85 and 58 % at 200, 300 and 500 m after 20 runs.
PREFERENCE = 3.0
TURNS = 0.1
FARTHEST_M = 2_600.0
MOST_STEPS = 160

ANGLES = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
Table = NDArray[np.float32]


@dataclass(frozen=True)
class Walker:
    """How runners choose streets.

    `choices` (directions, junctions, k): the probability of each street at a junction;
    `first` (directions, houses, 2): the probability of either end of a house's street.
    """

    streets: Streets
    choices: Table
    first: Table

    @classmethod
    def of(cls, streets: Streets) -> Walker:
        places = np.vstack([streets.junctions, [[0.0, 0.0]]])
        to = places[streets.next] - streets.junctions[:, None]
        real = streets.next < len(streets.junctions)
        along = streets.junctions[streets.ends] - streets.houses[:, None]
        always = np.ones(streets.ends.shape, bool)
        return cls(streets, _shares(to, real), _shares(along, always))


def _shares(to: Floats, real: NDArray[np.bool_]) -> Table:
    angle = np.arctan2(to[..., 1], to[..., 0])
    weight = np.exp(PREFERENCE * np.cos(angle - ANGLES[:, None, None])) * real
    total = np.maximum(weight.sum(-1, keepdims=True), 1e-30)
    return np.asarray(weight / total, np.float32)


def turned(values: Table) -> Table:
    """Return expected values (directions, ...) after a direction may have turned."""
    aside = np.roll(values, 1, 0) + np.roll(values, -1, 0)
    return np.asarray((1 - 2 * TURNS) * values + TURNS * aside, np.float32)


@dataclass(frozen=True)
class Ways:
    """Ways outwards from houses.

    `junctions` (ways, steps): padded with the number of junctions; `streets` (ways,
    steps): the column of the street that is taken from each.
    """

    house: Indices
    junctions: Indices
    streets: Indices

    def __getitem__(self, which: slice | Indices) -> Ways:
        return Ways(self.house[which], self.junctions[which], self.streets[which])

    @property
    def lasts(self) -> Indices:
        """Return the index of the last junction of each way."""
        padding = self.junctions.max(-1, keepdims=True)
        return np.asarray((self.junctions < padding).sum(-1) - 1)


def walk(walker: Walker, houses: Indices, dice: np.random.Generator) -> Ways:
    """Return a way in a new direction from each house."""
    streets, nowhere = walker.streets, len(walker.streets.junctions)
    count = len(houses)
    direction = dice.integers(0, DIRECTIONS, count)
    other = dice.random(count) > walker.first[direction, houses, 0]
    at = streets.ends[houses, other.astype(int)]
    junctions = np.full((count, MOST_STEPS), nowhere)
    taken = np.zeros((count, MOST_STEPS), np.int64)
    junctions[:, 0] = at
    last = (streets.next < nowhere).sum(-1) - 1
    going = np.arange(count)
    # The last column stays padding.
    for step in range(1, MOST_STEPS - 1):
        away = np.hypot(
            *(streets.junctions[at[going]] - streets.houses[houses[going]]).T
        )
        going = going[away < FARTHEST_M]
        turn = dice.random(len(going))
        direction[going] += (turn < TURNS).astype(int) - (turn > 1 - TURNS)
        direction %= DIRECTIONS
        here = at[going]
        reach = walker.choices[direction[going], here].cumsum(-1)
        column = (dice.random(len(going))[:, None] > reach).sum(-1)
        column = np.minimum(column, last[here])
        taken[going, step - 1] = column
        at[going] = junctions[going, step] = streets.next[here, column]
    # Few runners do not get away in that many steps: they try a new direction.
    if len(going):
        again = walk(walker, houses[going], dice)
        junctions[going], taken[going] = again.junctions, again.streets
    return Ways(houses, junctions, taken)
