"""A set of hypotheses of a runner's position along the course, updated by each fix.

A Gaussian sum filter (Alspach and Sorenson, "Nonlinear Bayesian estimation using
Gaussian sum approximations", 1972) with map matching as its observation. A hypothesis
branches where several places of the line fit the fix, and one branch always assumes
that the fix is wrong or off the course (multiple hypothesis tracking: Reid, 1979). The
cost of a hypothesis is -2 times the logarithm of its likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from runners.races.line import Line, Place
from runners.races.progress.motion import Motion, Pace, moved, surprise
from runners.races.progress.observation import MAX_OFF_COURSE_M, Observation
from runners.races.progress.state import Hypothesis

# GPS errors persist. Fixes within LASTING_S are one observation of the place, and fixes
# within FITTING_S are one observation of whether it fits.
LASTING_S = 10.0
FITTING_S = 20.0
# The cost of a fix that does not fit a hypothesis.
MISFIT_COST = 16.0
# An error above this, in squared standard deviations, makes the motion less certain.
DOUBT_SQUARE = 4.0
# A fix that adds less to the cost fits, and causes no search for other branches.
FIT_COST = 4.0
# A fix this many standard deviations beside its place may belong to a different place
# within BEND_M along the line.
BESIDE_SIGMAS = 2.2
BEND_M = 100.0
# Hypotheses whose cost exceeds that of the best by more are dropped.
MAX_COST = 28.0
HYPOTHESIS_LIMIT = 8
# While fixes come often, the hypothesis that is shown stays until another is likelier
# by more than this.
EQUAL_COST = 6.0
# Hypotheses within this distance are merged.
SAME_PLACE_M = 15.0
# The cost of a place that only a jump explains: a constant, and one per logarithm of
# distance.
JUMP_COST = 20.0
JUMP_LOG_COST = 3.0
# The length of the course that a runner may have cut. It falls to a tenth over CUT_S.
CUT_M = 1_000.0
CUT_S = 600.0
# Spells of errors last about this long. A single fix adds at most this to the misfits.
SPELL_S = 100.0
# Runners who have moved by less than this share of their usual way may stand.
STANDS_SHARE = 0.5
# Runners who are astray are probably within this distance of the course.
ASTRAY_M = 300.0
# Runners turn back for some metres only. Faster than BACK_MPS, each metre back has a
# cost, and a jump to a different leg costs at most BACK_JUMP_COST.
BACK_MPS = 0.5
BACK_COST = 0.4
BACK_JUMP_COST = 20.0
# After a silence of this time all places within reach are searched.
SILENCE_S = 60.0
# Larger windows are searched with bounding circles first.
WINDOW_M = 250.0
# Misfits over more than this time are not a spell of noise: the runner is lost. Finding
# them again costs less near the last certain place than farther away.
LOST_S = 150.0
REJOIN_COST = 6.0
REJOIN_FAR_COST = 14.0
REJOIN_NEAR_M = 300.0
# Runners stop at the finish, so a stop within this distance of it is no surprise.
FINISH_STOP_M = 45.0


class Mixture:
    """Moves hypotheses along a line. Read-only."""

    def __init__(
        self, line: Line, start: float, finish: float, top_speed: float
    ) -> None:
        self._line = line
        self._start, self._finish = start, finish
        self._top_speed = top_speed

    def step(
        self,
        hypotheses: Iterable[Hypothesis],
        now: Observation,
        seconds: float,
        pace: Pace,
        reach: tuple[float, float],
    ) -> tuple[list[Hypothesis], float]:
        """Return the hypotheses after a fix, and its least distance from the line.

        `pace` is the runner's average, and `reach` the range in metres within which a
        jump is possible.
        """
        usual = pace.usual
        misfit = MISFIT_COST * min(1.0, seconds / FITTING_S)
        repeats = max(1.0, LASTING_S / seconds)
        found: list[Hypothesis] = []
        shown: Hypothesis | None = None
        beside = math.inf
        fits = False
        for number, hypothesis in enumerate(hypotheses):
            motion = moved(hypothesis[:5], seconds, pace)
            branches, nearest = self._branches(
                hypothesis, motion, now, now.noise * repeats, seconds, usual, reach[1]
            )
            beside = min(beside, nearest)
            found += branches
            if number == 0 and seconds <= SILENCE_S:
                shown = min(branches, key=_cost, default=None)
            if branches and min(b.cost for b in branches) < hypothesis.cost + FIT_COST:
                fits = True
            else:
                if nearest > BESIDE_SIGMAS * now.sigma and hypothesis.misfits <= LOST_S:
                    low = hypothesis.distance - BEND_M
                    # The way of fixes that come often shows who stands. Otherwise a
                    # spell of errors is one observation.
                    often = seconds <= LASTING_S or (
                        seconds <= SILENCE_S
                        and now.moved < STANDS_SHARE * usual * seconds
                    )
                    times = repeats if often else max(SPELL_S / seconds, 1.0)
                    motion = self._beside(motion, now, times, low)
                found.append(_coasting(hypothesis, motion, seconds, misfit))
        likeliest = min(found, key=_cost)
        jump_cost = math.inf
        if not fits:
            parent = min([h for h in found if h.misfits] or found, key=_cost)
        elif likeliest.speed < -BACK_MPS:
            # The runner is probably on a different leg, in the course's direction.
            parent, jump_cost = likeliest, BACK_JUMP_COST
        elif beside > BESIDE_SIGMAS * now.sigma:
            # A bend nearby may fit better.
            parent = likeliest
            reach = parent.distance - BEND_M, min(parent.distance + BEND_M, reach[1])
        else:
            return self._steady(pruned(found), shown), beside
        places = self._near(now, now.noise, *reach)
        beside = min([beside, *(place.beside for place in places)])
        on_course = _on_course(places, now)
        found += _jumps(parent, on_course, now, seconds, usual, jump_cost)
        return self._steady(pruned(found), shown), beside

    def _steady(
        self, hypotheses: list[Hypothesis], shown: Hypothesis | None
    ) -> list[Hypothesis]:
        """Return the hypotheses, first the one that was `shown` if it is still about as
        likely as the best at the same place, on a different lap.
        """
        best = hypotheses[0]
        if shown is None or best.misfits:
            return hypotheses
        for number, hypothesis in enumerate(hypotheses):
            if (
                hypothesis.cost <= EQUAL_COST
                and not hypothesis.misfits
                and abs(hypothesis.distance - shown.distance) <= SAME_PLACE_M
                and self._line.gap(hypothesis.distance, best.distance) <= SAME_PLACE_M
            ):
                hypotheses.insert(0, hypotheses.pop(number))
                break
        return hypotheses

    def _beside(
        self, motion: Motion, now: Observation, repeats: float, back: float
    ) -> Motion:
        """Return the motion of a runner beside the course.

        They are probably as near to a place along the course as they are beside it, and
        may have stayed about `back`. So many fixes as `repeats` are one observation.
        """
        distance, _, variance, _, _ = motion
        tail = 3 * math.sqrt(variance)
        low, high = min(distance - tail, back), distance + tail
        near = self._line.near(now.spot, now.noise, ASTRAY_M, low, high)
        if not near or distance > self._finish:
            # Behind the finish they have left the course.
            return motion
        place = min(near, key=lambda place: place.beside)
        noise = place.beside**2
        return _corrected(motion, place.distance - distance, repeats * noise, noise)

    def _near(
        self, now: Observation, noise: float, low: float, high: float
    ) -> list[Place]:
        return self._line.near(now.spot, noise, MAX_OFF_COURSE_M, low, high)

    def _branches(
        self,
        hypothesis: Hypothesis,
        motion: Motion,
        now: Observation,
        noise: float,
        seconds: float,
        usual: float,
        farthest: float,
    ) -> tuple[list[Hypothesis], float]:
        """Return the posteriors at the places that fit, and the least distance from
        the line.

        `noise` is the variance of an axis if the fix counts as an observation.
        """
        if now.speed:
            motion = _with_speed(motion, min(now.speed, self._top_speed), seconds)
        distance, _, variance, _, _ = motion
        tail = 4 * math.sqrt(variance) + 2 * now.sigma + 2 * math.sqrt(noise) + 10
        low, high = distance - tail, min(distance + tail, farthest)
        silent = seconds > SILENCE_S or tail > WINDOW_M or hypothesis.misfits > LOST_S
        if silent:
            # Runners have stopped behind the finish.
            stop = max(hypothesis.distance, self._finish)
            motion = min(distance, stop), *motion[1:]
            places = self._near(now, noise, low - usual * seconds, high)
        else:
            places = self._line.along(now.spot, noise, distance, variance, low, high)
        nearest = min([place.beside for place in places], default=math.inf)
        ends = hypothesis.distance >= self._finish - FINISH_STOP_M
        return [
            _observed(
                hypothesis, motion, place, now, noise, silent, seconds, usual, ends
            )
            for place in _on_course(places, now)
        ], nearest


def _on_course(places: Iterable[Place], now: Observation) -> list[Place]:
    return [place for place in places if place.beside <= now.limit]


def _jumps(
    parent: Hypothesis,
    places: Iterable[Place],
    now: Observation,
    seconds: float,
    usual: float,
    most: float,
) -> list[Hypothesis]:
    """Return hypotheses at places that only a jump explains, which costs at most
    `most`.
    """
    found = []
    for place in places:
        ahead = place.distance - parent.distance
        usually = surprise(ahead, parent.variance + now.noise, seconds, usual)
        jump = JUMP_COST + JUMP_LOG_COST * math.log1p(abs(ahead) / 100)
        cost = parent.cost + place.cost + min(usually, jump, most)
        found.append(born(place, now.t, cost, now.noise, usual))
    return found


def born(place: Place, t: int, cost: float, noise: float, speed: float) -> Hypothesis:
    distance, spread = place.distance, 0.1 * speed * speed + 0.2
    return Hypothesis(distance, speed, noise, 0.0, spread, cost, t, distance)


def _coasting(
    hypothesis: Hypothesis, motion: Motion, seconds: float, cost: float
) -> Hypothesis:
    misfits = hypothesis.misfits + min(seconds, SPELL_S)
    return hypothesis.with_motion(motion, hypothesis.cost + cost, misfits)


def _with_speed(motion: Motion, measured: float, seconds: float) -> Motion:
    """Return the motion after a measured speed, which counts less if measured often."""
    distance, speed, variance, covariance, speed_variance = motion
    total = speed_variance + 0.3 * max(1.0, 5 / seconds)
    kept = 1 - speed_variance / total
    along = covariance / total
    rise = measured - speed
    return (
        distance + along * rise,
        speed + (1 - kept) * rise,
        variance - along * covariance,
        kept * covariance,
        kept * speed_variance,
    )


def _observed(
    hypothesis: Hypothesis,
    motion: Motion,
    place: Place,
    now: Observation,
    noise: float,
    silent: bool,
    seconds: float,
    usual: float,
    ends: bool,
) -> Hypothesis:
    """Return the posterior of a hypothesis at a place that fits the fix.

    `ends`: the runner was at the finish, and may have stopped there.
    """
    distance, speed, variance, covariance, speed_variance = motion
    ahead = place.distance - distance
    if not silent and place.inside:
        # The place is the mode of the posterior and not the nearest to the fix.
        ahead *= (variance + noise) / variance
    square = ahead * ahead / (variance + noise)
    if silent:
        cost = surprise(ahead, variance + noise, seconds, usual)
        cost += 8 * math.log1p(place.cost / 8)
        if hypothesis.misfits > LOST_S:
            far = abs(place.distance - hypothesis.origin) > REJOIN_NEAR_M
            cost += hypothesis.cost + (REJOIN_FAR_COST if far else REJOIN_COST)
            return born(place, now.t, cost, noise, usual)
    else:
        own = square if place.inside else ahead * ahead / variance
        cost = place.cost - own
        if not (ends and ahead < 0):
            cost += 8 * math.log1p(own / 8)
        cost *= min(max(seconds / FITTING_S, LASTING_S / FITTING_S), 1.0)
    posterior = _corrected(motion, ahead, noise, now.noise)
    if not (place.inside or silent):
        # The end of a segment is the place.
        posterior = (place.distance, *posterior[1:])
    if not silent:
        cost += BACK_COST * max(-posterior[1] - BACK_MPS, 0.0) * seconds
    return hypothesis.with_motion(posterior, hypothesis.cost + cost, 0.0)


def _corrected(motion: Motion, ahead: float, noise: float, once: float) -> Motion:
    """Return the motion after an observation so far ahead, of a variance `noise`.

    `once` is the variance of this fix alone: several that follow each other are one
    observation, but a single one shows that the runner does not move as expected.
    """
    distance, speed, variance, covariance, speed_variance = motion
    if ahead * ahead > DOUBT_SQUARE * (variance + once):
        # Runners stop and turn, so the motion is less certain than assumed.
        times = (ahead * ahead / DOUBT_SQUARE - once) / variance
        variance, covariance = times * variance, times * covariance
        speed_variance *= times
    total = variance + noise
    along = covariance / total
    return (
        distance + variance / total * ahead,
        max(speed + along * ahead, -3.0),
        noise / total * variance,
        noise / total * covariance,
        speed_variance - along * covariance,
    )


def _cost(hypothesis: Hypothesis) -> float:
    return hypothesis.cost


def pruned(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    """Return the likely hypotheses, the best first, merged if at the same place."""
    if len(hypotheses) < 2:
        return [hypothesis.compact(0.0) for hypothesis in hypotheses]
    # Sort by likelihood density, so that a vague hypothesis follows one that fits, but
    # not by how exact a hypothesis is within the same place.
    hypotheses.sort(key=_density)
    least = min(hypothesis.cost for hypothesis in hypotheses)
    left: list[Hypothesis] = []
    for hypothesis in hypotheses:
        if hypothesis.cost > least + MAX_COST:
            continue
        if all(
            abs(hypothesis.distance - other.distance) > SAME_PLACE_M
            or bool(hypothesis.misfits) != bool(other.misfits)
            for other in left
        ):
            left.append(hypothesis)
    return [h.compact(h.cost - least) for h in left[:HYPOTHESIS_LIMIT]]


def _density(hypothesis: Hypothesis) -> float:
    return hypothesis.cost + math.log(max(hypothesis.variance, SAME_PLACE_M**2))


def share_of_best(
    hypotheses: Sequence[Hypothesis], around: float, finish: float
) -> float:
    """Return the probability that the runner is near the best hypothesis.

    Near is at most `around` metres away. All places behind the finish count as one.
    """
    if len(hypotheses) == 1:
        return 1.0
    best = min(hypotheses[0].distance, finish)
    total = near = 0.0
    for hypothesis in hypotheses:
        weight = math.exp(-hypothesis.cost / 2)
        total += weight
        if abs(min(hypothesis.distance, finish) - best) <= around:
            near += weight
    return near / total


def deviation(hypotheses: Sequence[Hypothesis]) -> float:
    """Return the standard deviation around the best hypothesis, in metres."""
    best = hypotheses[0]
    if len(hypotheses) == 1:
        return math.sqrt(best.variance)
    total = squared = 0.0
    for hypothesis in hypotheses:
        weight = math.exp(-hypothesis.cost / 2)
        total += weight
        off = hypothesis.distance - best.distance
        squared += weight * (hypothesis.variance + off * off)
    return math.sqrt(squared / total)
