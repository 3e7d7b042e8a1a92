"""An irregular street network, with houses beside the streets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

BLOCK_M = 100.0
JITTER_M = 22.0
# Waves that bend straight streets.
WAVE_M = 60.0
WAVE_LENGTH_M = 1_500.0
# Shares of streets that are missing, and of blocks with a diagonal street.
MISSING = 0.18
DIAGONAL = 0.12
# Streets are longer than the line between their ends by up to this share.
WINDING = 0.12
HOUSE_EVERY_M = 15.0
SETBACK_M = 12.0


@dataclass(frozen=True)
class Streets:
    """Junctions, streets and houses; places in metres.

    `junctions` (n, 2); `next` (n, k): the neighbours of each, padded with n; `lengths`
    (n, k) in metres; `houses` (m, 2); `ends` (m, 2): the junctions at both ends of the
    street of a house; `to_ends` (m, 2): the distances to them in metres.
    """

    junctions: Floats
    next: Indices
    lengths: Floats
    houses: Floats
    ends: Indices
    to_ends: Floats


def build(seed: int, blocks: int) -> Streets:
    """Return a town of `blocks` by `blocks`, centred on (0, 0)."""
    dice = np.random.default_rng(seed)
    junctions = _junctions(dice, blocks)
    edges = _edges(dice, blocks)
    lengths = np.hypot(*(junctions[edges[:, 0]] - junctions[edges[:, 1]]).T)
    lengths *= 1 + dice.uniform(0, WINDING, len(edges))
    next_, table = _neighbours(len(junctions), edges, lengths)
    joined = _reached(next_, int(np.argmin(np.hypot(*junctions.T))))[edges[:, 0]]
    houses, ends, to_ends = _houses(dice, junctions, edges[joined], lengths[joined])
    return Streets(junctions, next_, table, houses, ends, to_ends)


def _junctions(dice: np.random.Generator, blocks: int) -> Floats:
    line = (np.arange(blocks) - (blocks - 1) / 2) * BLOCK_M
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    phases = dice.uniform(0, 2 * np.pi, (2, 2))
    across = grid[:, ::-1] * 2 * np.pi / WAVE_LENGTH_M
    waves = np.sin(across + phases[0]) + np.sin(1.7 * across + phases[1])
    jitter = dice.uniform(-JITTER_M, JITTER_M, grid.shape)
    return np.asarray(grid + WAVE_M * waves + jitter)


def _edges(dice: np.random.Generator, blocks: int) -> Indices:
    number = np.arange(blocks * blocks).reshape(blocks, blocks)
    pairs = [
        (number[:-1], number[1:], 1 - MISSING),
        (number[:, :-1], number[:, 1:], 1 - MISSING),
        (number[:-1, :-1], number[1:, 1:], DIAGONAL / 2),
        (number[1:, :-1], number[:-1, 1:], DIAGONAL / 2),
    ]
    edges = []
    for one, other, share in pairs:
        kept = dice.random(one.shape) < share
        edges.append(np.stack([one[kept], other[kept]], -1))
    return np.concatenate(edges)


def _neighbours(n: int, edges: Indices, lengths: Floats) -> tuple[Indices, Floats]:
    both = np.concatenate([edges, edges[:, ::-1]])
    order = np.argsort(both[:, 0], kind="stable")
    start, end = both[order].T
    column = np.arange(len(start)) - np.searchsorted(start, start)
    next_ = np.full((n, column.max() + 1), n)
    table = np.zeros(next_.shape)
    next_[start, column] = end
    table[start, column] = np.concatenate([lengths, lengths])[order]
    return next_, table


def _reached(next_: Indices, start: int) -> Flags:
    """Return which junctions are connected with one."""
    found = np.zeros(len(next_) + 1, bool)
    found[start] = True
    count = 0
    while count < (count := int(found.sum())):
        found[:-1] |= found[next_].any(-1)
    return found[:-1]


def _houses(
    dice: np.random.Generator, junctions: Floats, edges: Indices, lengths: Floats
) -> tuple[Floats, Indices, Floats]:
    count = np.maximum(1, (lengths / HOUSE_EVERY_M).astype(int))
    street = np.repeat(np.arange(len(edges)), count)
    share = dice.uniform(0, 1, len(street))
    one, other = junctions[edges[street, 0]], junctions[edges[street, 1]]
    along = other - one
    aside = np.stack([-along[:, 1], along[:, 0]], -1)
    aside *= (dice.choice([-1, 1], len(street)) * SETBACK_M / np.hypot(*along.T))[
        :, None
    ]
    to_ends = np.stack([share, 1 - share], -1) * lengths[street, None]
    return one + share[:, None] * along + aside, edges[street], to_ends
