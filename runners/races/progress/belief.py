"""Where a runner may be on a course that lies in folds closer than the noise.

On the laps of a track, or on switchbacks, the place nearest to a fix is as likely on
the leg beside. So the likelihood of every place is kept and moved on with time: a
Bayesian filter on a grid (Bucy and Senne, "Digital synthesis of non-linear filters",
Automatica 7, 1971), which is the forward algorithm of a hidden Markov model, as map
matching uses it (Newson and Krumm, "Hidden Markov map matching through noise and
sparseness", 2009). Its states are a cell of the course and one of some paces, or
standing there; a pace lasts, so that what a runner did for minutes tells one lap from
the next.
"""

from __future__ import annotations

import base64
import math

import numpy as np

from runners.races.line import BEYOND, Floats, Line, Sight
from runners.races.progress.state import Belief, Guess

# Metres of a cell of the course.
CELL = 10.0
# The paces, as shares of the race's top speed: of a runner, 1.2 to 7.5 m/s.
SLOWEST, FASTEST, PACES = 0.096, 0.6, 9
# How sure a pace is at first: the spread of its logarithm. How likely it is to stand.
PACE_SPREAD, STANDS = 0.4, 0.05
# The variance of a pace's logarithm a second, and of a place's metres a second.
PACE_WANDER, PLACE_WANDER = 3e-4, 3.0
# After so many seconds a runner stops, and goes on again.
STOPS, GOES = 1_000.0, 80.0
# An error of GPS stays for a while: fixes within so many seconds say one thing. So
# most of them are left out: a step takes so many seconds.
LASTING, STEP = 20.0, 4.5
# Seconds that likelihoods are moved on at once at most.
STRIDE = 60.0
# The least standard deviation of a fix on cells so large. Metres.
LEAST_SIGMA = 5.0
# The most that one fix tells against a place, in its logarithm: it may be quite wrong.
MOST_TOLD = 9.0
# What a heading against the line's own tells at most, and a speed, in the same.
HEADING_TOLD, SPEED_TOLD = 3.0, 8.0
# The likeliest place is that with most likelihood within so many cells.
AROUND = 4
# Likelihoods are stored as bytes of their logarithm; the last byte stands for none.
DEPTH = 25.0
LEAST = 1e-4

# A fold is where the line comes back, after at most so many metres, to less than half
# of what a straight line would be away.
FOLD_SPACING, FOLD_LEAST, FOLD_MOST, FOLD_SHARE = 20.0, 60, 800, 0.5
# How far behind and ahead of a runner folds matter. Metres.
FOLD_REACH = 400.0
# Folds closer than so many standard deviations are too close for the nearest place.
FOLD_SIGMAS = 6.0


class Grid:
    """The cells of a line; the same for all runners, and read-only."""

    def __init__(self, line: Line, top_speed: float) -> None:
        cells = np.arange(0.0, line.length + BEYOND, CELL)
        self._metres = cells
        self._x, self._y, self._east, self._north = line.at(cells)
        self._paces = top_speed * np.geomspace(SLOWEST, FASTEST, PACES)
        self._apart = math.log(FASTEST / SLOWEST) / (PACES - 1)
        self._folds = folds(line)

    def is_folded(self, distance: float, sigma: float) -> bool:
        """Tell whether the line about a distance folds closer than the noise."""
        index = min(max(int(distance / FOLD_SPACING), 0), len(self._folds) - 1)
        return bool(self._folds[index] < FOLD_SIGMAS * sigma)

    def begin(self, t: int, guess: Guess) -> Belief:
        """Return the belief about a runner of whom one guess is left."""
        usual = max(guess.speed, self._paces[0])
        paces = np.exp(-0.5 * (np.log(self._paces / usual) / PACE_SPREAD) ** 2)
        paces /= paces.sum()
        deviation = max(math.sqrt(guess.variance), CELL)
        first = max(int((guess.distance - 4 * deviation) / CELL), 0)
        last = int((guess.distance + 4 * deviation) / CELL) + 2
        off = (self._metres[first:last] - guess.distance) / deviation
        near = np.exp(-0.5 * off * off)
        near /= near.sum()
        rows = np.concatenate([STANDS * near[None], paces[:, None] * near])
        return self._packed(t, first, rows, paces)

    def step(
        self, belief: Belief, t: int, sight: Sight, speed: float | None, within: float
    ) -> Belief | None:
        """Return the belief after a fix; None if no likely place is within metres."""
        seconds = (t - belief.at) / 1000
        first, rows = belief.first, _unpacked(belief.rows, 1 + PACES)
        paces = _unpacked(belief.paces, 1)[0]
        paces /= paces.sum()
        # Who stops goes on again at another pace: a silence is no single stride.
        strides = math.ceil(seconds / STRIDE)
        for _ in range(strides):
            first, rows = self._moved(first, rows, paces, seconds / strides)
        part = slice(first, first + rows.shape[1])
        beside = np.hypot(self._x[part] - sight.x, self._y[part] - sight.y)
        if beside.min(where=rows.sum(0) > 0, initial=math.inf) > within + CELL / 2:
            return None
        weight = min(1.0, seconds / LASTING)
        rows *= self._fits(part, sight, weight)
        if sight.east or sight.north:
            against = sight.east * self._east[part] + sight.north * self._north[part]
            rows[1:] *= np.exp(HEADING_TOLD * weight * (against - 1))
        # Some apps send 0 for what they do not know.
        if speed:
            off = (speed - self._paces) / (0.3 + 0.15 * self._paces)
            rows[1:] *= np.exp(np.maximum(-0.5 * off * off, -SPEED_TOLD))[:, None]
            rows[0] *= math.exp(max(-2.0 * speed * speed, -SPEED_TOLD))
        topic_name = rows.sum()
        if not topic_name > 0:
            return None
        rows /= topic_name
        moving = rows[1:].sum(1)
        paces = moving + rows[0].sum() * paces
        return self._packed(t, first, rows, paces / paces.sum())

    def _moved(
        self, first: int, rows: Floats, paces: Floats, seconds: float
    ) -> tuple[int, Floats]:
        """Return the first cell and the likelihoods, moved on by some seconds."""
        stops, goes = -math.expm1(-seconds / STOPS), -math.expm1(-seconds / GOES)
        still, moving = rows[0], rows[1:]
        going = (1 - stops) * moving + (goes * paces)[:, None] * still
        still = (1 - goes) * still + stops * moving.sum(0)
        # Some of each pace changes to those beside it.
        change = min(PACE_WANDER * seconds / (2 * self._apart**2), 0.25)
        beside = np.concatenate([going[:1], going, going[-1:]])
        going = (1 - 2 * change) * going + change * (beside[:-2] + beside[2:])
        shift = self._paces * (seconds / CELL)
        variance = (shift * self._apart) ** 2 / 12 + PLACE_WANDER * seconds / CELL**2
        variance = np.maximum(variance, 0.3)
        widest = 3 * math.sqrt(variance[-1])
        low = min(math.floor(shift[0] - 3 * math.sqrt(variance[0])), 0)
        steps = np.arange(low, math.ceil(shift[-1] + widest) + 1)
        kernel = np.exp(-0.5 * (steps - shift[:, None]) ** 2 / variance[:, None])
        kernel /= kernel.sum(1, keepdims=True)
        count, more = rows.shape[1], len(steps) - 1
        padded = np.zeros((PACES, count + 2 * more))
        padded[:, more : more + count] = going
        windows = np.lib.stride_tricks.sliding_window_view(padded, more + 1, axis=1)
        moved = np.zeros((1 + PACES, count + more))
        moved[1:] = np.matmul(windows, kernel[:, ::-1, None])[:, :, 0]
        moved[0, -low : count - low] = still
        first += low
        # What is beyond an end of the line is at that end.
        if first < 0:
            moved = moved[:, -first:]
            first = 0
        over = first + moved.shape[1] - len(self._metres)
        if over > 0:
            moved[:, -over - 1] += moved[:, -over:].sum(1)
            moved = moved[:, :-over]
        return first, moved

    def _fits(self, part: slice, sight: Sight, weight: float) -> Floats:
        off_x, off_y = self._x[part] - sight.x, self._y[part] - sight.y
        variance = max(sight.variance, LEAST_SIGMA**2)
        cost = (off_x * off_x + off_y * off_y) * (0.5 * weight / variance)
        cost -= cost.min()
        return np.exp(-np.minimum(cost, MOST_TOLD))

    def _packed(self, t: int, first: int, rows: Floats, paces: Floats) -> Belief:
        topic_name = rows.sum(0)
        topic_name /= topic_name.sum()
        likely = np.flatnonzero(topic_name > LEAST * topic_name.max())
        begin, end = int(likely[0]), int(likely[-1]) + 1
        rows, topic_name = rows[:, begin:end], topic_name[begin:end]
        metres = self._metres[first + begin : first + end]
        total = np.concatenate([[0.0], np.cumsum(topic_name)])
        index = np.arange(len(topic_name))
        upto = total[np.minimum(index + AROUND + 1, len(topic_name))]
        shares = upto - total[np.maximum(index - AROUND, 0)]
        best = int(shares.argmax())
        around = slice(max(best - AROUND, 0), best + AROUND + 1)
        here = topic_name[around] / topic_name[around].sum()
        distance = float(here @ metres[around])
        variance = float(here @ (metres[around] - distance) ** 2) + CELL**2 / 12
        moving = rows[1:, around].sum(1)
        speed = float(moving @ self._paces / rows[:, around].sum())
        return Belief(
            t,
            first + begin,
            _packed(rows),
            _packed(paces[None]),
            round(distance, 2),
            round(math.sqrt(variance), 2),
            round(speed, 3),
            round(float(shares[best]), 3),
        )


def folds(line: Line) -> Floats:
    """Return how close the line comes to itself about each FOLD_SPACING metres."""
    metres = np.arange(0.0, line.length + FOLD_SPACING, FOLD_SPACING)
    x, y, _, _ = line.at(metres)
    closest = np.full(len(metres), np.inf)
    for apart in range(FOLD_LEAST, FOLD_MOST + 1, int(FOLD_SPACING)):
        ahead = round(apart / FOLD_SPACING)
        if ahead >= len(metres):
            break
        gap = np.hypot(x[ahead:] - x[:-ahead], y[ahead:] - y[:-ahead])
        gap[gap > FOLD_SHARE * apart] = np.inf
        closest[:-ahead] = np.minimum(closest[:-ahead], gap)
        closest[ahead:] = np.minimum(closest[ahead:], gap)
    reach = round(FOLD_REACH / FOLD_SPACING)
    padded = np.pad(closest, reach, constant_values=np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    return np.asarray(windows.min(1))


def _packed(likelihoods: Floats) -> str:
    with np.errstate(divide="ignore"):
        depth = np.log(likelihoods.max()) - np.log(likelihoods)
    steps = np.minimum(np.rint(depth * DEPTH), 255).astype(np.uint8)
    return base64.b64encode(steps.tobytes()).decode()


# What each byte stands for.
_LIKELIHOODS = np.exp(-np.arange(256) / DEPTH)
_LIKELIHOODS[255] = 0.0


def _unpacked(text: str, rows: int) -> Floats:
    steps = np.frombuffer(base64.b64decode(text), np.uint8).reshape(rows, -1)
    return _LIKELIHOODS[steps]
