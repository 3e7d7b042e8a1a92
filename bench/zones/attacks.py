"""Attackers of privacy zones. Each returns the place (2,) where it supposes the home.

They are given everything that a spectator can see, and more: the streets without the
noise of GPS, the law of the zone and its hidden circle, and how runners choose streets.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from bench.zones.laws import Law
from bench.zones.runs import DIRECTIONS, Table, Walker, Ways, turned
from bench.zones.streets import Flags, Floats, Indices

FOUND_M = 50.0
# Standard deviation of GPS, and of the end of a track, which is up to a second late.
GPS_M = 5.0
END_M = 8.0
# Standard deviation of the direction of a home as seen from an end, in radians, as
# attackers without a map assume it.
DIRECTION_ERROR = 0.6
# Distance along a track over which its direction at the end is measured.
SIGHT_M = 300.0
# The sum over hidden ways is complete when it grows by less than this share in a number
# of steps.
ENOUGH = 0.01
CHECKED_EVERY = 10
MOST_PASSES = 400
LEAST = 1e-9
MOST_COMPARED = 1_500
LEAST_WEIGHT = 1e-4


@dataclass(frozen=True)
class Ends:
    """What is visible of runs: the first visible step of each way outwards.

    `places` (ways, 2): where the track begins, with noise; `headings` (ways,): the
    direction there, in radians; `last_hidden` (-1: none, the house is at `first`),
    `first` (ways,): the junctions before and after; `index` (ways,): that of `first`
    in its way; `hidden_m` (ways,): metres along the way that are hidden.
    """

    places: Floats
    headings: Floats
    last_hidden: Indices
    first: Indices
    index: Indices
    hidden_m: Floats

    def __getitem__(self, which: slice | Indices) -> Ends:
        return Ends(*(getattr(self, field.name)[which] for field in fields(self)))


def observe(
    walker: Walker, ways: Ways, centre: Floats, radii: Floats, dice: np.random.Generator
) -> Ends:
    """Hide what lies in a circle of a radius (ways,) and return what is visible."""
    streets = walker.streets
    rows = np.arange(len(ways.house))
    places = np.vstack([streets.junctions, [[np.inf, np.inf]]])
    away = np.hypot(*np.moveaxis(places[ways.junctions] - centre, -1, 0))
    index = (away > radii[:, None]).argmax(-1)
    first = ways.junctions[rows, index]
    before = np.maximum(index - 1, 0)
    last_hidden = np.where(index > 0, ways.junctions[rows, before], -1)
    start = np.where(
        index[:, None] > 0, places[last_hidden], streets.houses[ways.house]
    )
    share = _crossing(start - centre, places[first] - start, radii)
    begin = start + share[:, None] * (places[first] - start)

    lengths = streets.lengths[np.minimum(ways.junctions, len(places) - 2), ways.streets]
    walked = np.cumsum(lengths, -1)
    ends = streets.ends[ways.house]
    to_first = streets.to_ends[ways.house, (ends[:, 1] == ways.junctions[:, 0]) * 1]
    inner = np.where(index > 1, walked[rows, np.maximum(index - 2, 0)], 0.0)
    step = np.where(index > 0, lengths[rows, before], to_first)
    hidden_m = np.where(index > 0, to_first + inner, 0.0) + share * step
    seen = np.minimum((walked - inner[:, None] < SIGHT_M).sum(-1), ways.lasts)
    ahead = places[ways.junctions[rows, np.maximum(seen, index)]] - begin
    return Ends(
        begin + dice.normal(0, GPS_M, begin.shape),
        np.arctan2(ahead[:, 1], ahead[:, 0]),
        last_hidden,
        first,
        index,
        hidden_m,
    )


def _crossing(start: Floats, step: Floats, radii: Floats) -> Floats:
    """Return the share of a step at which it leaves a circle around (0, 0)."""
    square = np.maximum((step**2).sum(-1), 1e-9)
    half = (start * step).sum(-1)
    rest = (start**2).sum(-1) - radii**2
    root = np.sqrt(np.maximum(half**2 - square * rest, 0))
    return np.asarray(np.clip((root - half) / square, 0, 1))


def circle_fit(ends: Floats) -> Floats:
    """Fit a circle to ends of tracks by least squares (Hassan et al. 2018)."""
    design = np.column_stack([2 * ends, np.ones(len(ends))])
    middle = ends.mean(0)
    design[:, :2] -= 2 * middle
    moved = ends - middle
    solution, *_ = np.linalg.lstsq(design, (moved**2).sum(-1), rcond=None)
    return np.asarray(solution[:2] + middle)


def exit_model(ends: Ends, candidates: Floats) -> Floats:
    """Find where the directions of exits meet (Legramanti et al. 2018)."""
    back = ends.places[:, None] - candidates
    angle = np.arctan2(back[..., 1], back[..., 0]) - ends.headings[:, None]
    error = (angle + np.pi) % (2 * np.pi) - np.pi
    scores = -0.5 * (error**2).sum(0) / DIRECTION_ERROR**2
    return best(candidates, scores)


def known_radius(ends: Floats, houses: Floats, radius: float) -> Floats:
    """Find the house that has all ends at the radius: a zone around the home itself."""
    away = np.hypot(*np.moveaxis(ends[:, None] - houses, -1, 0)) - radius
    return best(houses, -0.5 * (away**2).sum(0) / END_M**2)


def best(candidates: Floats, scores: Floats) -> Floats:
    """Return the candidate with the most probability within `FOUND_M`."""
    weights = np.exp(scores - scores.max())
    # Improbable ones do not change which is the best.
    kept = np.argsort(-weights)[:MOST_COMPARED]
    kept = kept[weights[kept] > LEAST_WEIGHT]
    places = np.asarray(candidates[kept] - candidates[kept[0]], np.float32)
    squares = (places**2).sum(-1)
    gaps = squares[:, None] + squares - 2 * places @ places.T
    near = (gaps <= FOUND_M**2) @ np.asarray(weights[kept], np.float32)
    return np.asarray(candidates[kept[near.argmax()]])


def likelihoods(
    walker: Walker,
    ways: Ways,
    ends: Ends,
    centre: Floats,
    radii: Floats,
    candidates: Indices,
) -> Floats:
    """Return the log-probability (ways, candidates) of what is visible, by home.

    It is exact for runs of `walk`: the sum over all ways inside the hidden circle, and
    over all directions, as likely as the visible part makes them.
    """
    away = np.hypot(*(walker.streets.junctions - centre).T)
    found = np.empty((len(radii), len(candidates)))
    for radius in np.unique(radii):
        some = np.flatnonzero(radii == radius)
        found[some] = _likelihoods(
            walker, ways[some], ends[some], away <= radius, candidates
        )
    return found


def _likelihoods(
    walker: Walker, ways: Ways, ends: Ends, hidden: Flags, candidates: Indices
) -> Floats:
    streets = walker.streets
    onward = _onward(walker, ways, ends)
    degrees = (streets.next < len(hidden)).sum(-1)
    # Those with many streets first, for `_hitting`.
    inside = np.flatnonzero(hidden)
    inside = inside[np.argsort(-degrees[inside], kind="stable")]
    index = np.full(len(hidden) + 1, len(inside))
    index[inside] = np.arange(len(inside))
    watched = np.unique(index[streets.ends[candidates]])
    values = _hitting(walker, ways, ends, onward, inside, index, watched)
    first = walker.first[:, candidates] / DIRECTIONS
    found = np.zeros((len(ways.house), len(candidates)))
    for side in (0, 1):
        near, far = streets.ends[candidates, side], streets.ends[candidates, 1 - side]
        for direction in range(DIRECTIONS):
            found += (
                first[direction, :, side, None] * values[direction, index[near]]
            ).T
        # From the house straight out of the circle.
        came = (ends.last_hidden[:, None] == far) | (ends.last_hidden[:, None] < 0)
        straight = came & (ends.first[:, None] == near) & ~hidden[near]
        if straight.any():
            found += straight * np.einsum("dm,dr->rm", first[..., side], onward)
    return np.log(np.maximum(found, LEAST))


def _onward(walker: Walker, ways: Ways, ends: Ends) -> Table:
    """Return the relative probability of the visible steps (directions, ways)."""
    onward = np.ones((DIRECTIONS, len(ways.house)), np.float32)
    lasts = ways.lasts
    for step in range(int(lasts.max()) - 1, -1, -1):
        seen = np.flatnonzero((step >= ends.index) & (step < lasts))
        taken = walker.choices[:, ways.junctions[seen, step], ways.streets[seen, step]]
        values = turned(taken * onward[:, seen])
        onward[:, seen] = values / values.max(0)
    return onward


def _hitting(
    walker: Walker,
    ways: Ways,
    ends: Ends,
    onward: Table,
    inside: Indices,
    index: Indices,
    watched: Indices,
) -> Table:
    """Return the probability of each exit (directions, inside + 1, ways).

    The sum over all ways is complete for the `watched` junctions.
    """
    rows = np.flatnonzero(ends.last_hidden >= 0)
    start = ends.last_hidden[rows]
    street = ways.streets[rows, ends.index[rows] - 1]
    leave = np.zeros((DIRECTIONS, len(inside), len(ways.house)), np.float32)
    leave[:, index[start], rows] = walker.choices[:, start, street] * onward[:, rows]
    next_ = index[walker.streets.next[inside]]
    steps = []
    for column in range(next_.shape[1]):
        # The first junctions have a street in this column.
        count = int((walker.streets.next[inside, column] < len(index) - 1).sum())
        chosen = walker.choices[:, inside[:count], column, None]
        steps.append((count, next_[:count, column], chosen))
    values = np.zeros((DIRECTIONS, len(inside) + 1, len(ways.house)), np.float32)
    reached = np.zeros(len(ways.house))
    for number in range(MOST_PASSES):
        new = leave.copy()
        for count, to, chosen in steps:
            new[:, :count] += chosen * values[:, to]
        values[:, :-1] = turned(new)
        if number % CHECKED_EVERY == CHECKED_EVERY - 1:
            before, reached = reached, values[:, watched].sum((0, 1))
            if (reached - before <= ENOUGH * reached).all() and reached[rows].all():
                break
    return values


def candidates_of(walker: Walker, law: Law, centre: Floats) -> tuple[Indices, Floats]:
    """Return the houses that the law allows, and the log of their prior density."""
    away = np.hypot(*(walker.streets.houses - centre).T)
    prior = law.prior(away)
    allowed = np.flatnonzero(prior > 0)
    return allowed, np.log(prior[allowed])
