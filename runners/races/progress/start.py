"""Detects the start of a runner from their waiting place and the run from the line."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from runners.races.course import Course
from runners.races.line import Line
from runners.races.progress.mixture import Mixture, deviation, pruned
from runners.races.progress.motion import (
    DOUBT_SIGMAS,
    USUAL_SPREAD_MPS,
    average_pace,
    top_speed_of_a_minute,
    usual_pace,
)
from runners.races.progress.observation import Observation
from runners.races.progress.state import (
    Here,
    Hypothesis,
    Seen,
    State,
    metres_between,
)
from runners.races.progress.waiting import Waiting
from runners.races.splits import Node, Pass, passings

# Runners wait for the start within this distance of the line, from this long before the
# gun.
START_AREA_M = 500.0
WAITING_MS = 2 * 3600 * 1000
# A run of this length along the course is a start.
START_RUN_M = 30.0
# The same for runners who have no fix in the start area.
LATE_RUN_M = 200.0
# A runner this much farther from the start than before has left their waiting place.
MOVED_M = 100.0
# People who live or wait beside the course do not start there: they are slower than
# this for LINGERS_S.
LINGERS_S = 300.0
LINGERS_MPS = 0.5
# The first fix of a slow phone comes within this time of the gun.
SLOW_PHONE_S = 900.0
# Runners who have started are not slower than this on average since the gun.
SLOWEST_MPS = 1.2
# The slowest cross the line this long after the gun.
CROSSES_S = 60.0
# Where the course is back at the start within SHORT_LAP_M, as on a track, a fix there
# later than SHORT_LAP_WAIT_S after the gun is a lap. Those who are at the same place at
# the next fix wait. Fixes more often than every SERIES_MIN_S show the run itself.
SHORT_LAP_M = 1_000.0
SHORT_LAP_WAIT_S = 120.0
SERIES_MIN_S = 15.0
# Errors of a slow phone, without a fix for SLOW_INTERVAL_S, look like a run. On short
# laps the odds of waiting decide, which are a logarithm. At the gun they are GUN_ODDS,
# and those who then wait leave within about LEAVES_S. Above SURE_WAITS they wait, and
# below SURE_RUNS they have started.
SLOW_INTERVAL_S = 60.0
GUN_ODDS = -3.0
LEAVES_S = 1_200.0
SURE_WAITS = 4.0
SURE_RUNS = -4.0
# Elsewhere, those who then are within WAITING_M of where they waited still wait, unless
# a fast runner could have run a lap.
WAITING_M = 40.0
# A run back by this distance was not a start.
WRONG_WAY_M = 50.0


class Starting:
    """Detects starts. Read-only."""

    def __init__(
        self,
        course: Course,
        line: Line,
        mixture: Mixture,
        passes: Sequence[Pass],
        *,
        start: float,
        finish: float,
        top_speed: float,
    ) -> None:
        self._line = line
        self._mixture = mixture
        self._passes = passes
        self._start, self._finish = start, finish
        self._top_speed = top_speed
        self._usual = usual_pace(top_speed)
        self._start_place = course.point_at(start)
        laps = (
            distance - start
            for distance in course.passes(*self._start_place, within=START_RUN_M)
        )
        self._lap = min((lap for lap in laps if lap > START_RUN_M), default=math.inf)
        self._short_lap = self._lap <= SHORT_LAP_M
        self._waiting = Waiting(line, start, self._start_place, self._lap)

    def wait(self, state: State, here: Here) -> Seen:
        """Record the distance from the start of a runner who waits before the gun."""
        gap = self._gap(here)
        if gap > START_AREA_M:
            state.stays = None
            return Seen(None)
        if self._short_lap:
            state.stays = self._waiting.averaged(state.stays, here)
        return self._waits(state, here, gap)

    def _gap(self, here: Here) -> float:
        return metres_between(*self._start_place, here.lat, here.lng)

    def _waits(self, state: State, here: Here, gap: float) -> Seen:
        state.hypotheses, state.waiting = (), Node(here.t, -round(gap, 2))
        if not self._short_lap:
            state.stays = here
        return Seen(None)

    def step(self, state: State, now: Observation) -> Seen:
        """Change the state by a fix of a runner without a detected start."""
        here, start, gap = now.here, self._start, self._gap(now.here)
        if self._short_lap:
            known = [one.t for one in (state.stays, state.waiting) if one]
            last = max([state.at, *known])
            if here.t - last >= SLOW_INTERVAL_S * 1000:
                return self._step_slow(state, now, round(max(last, state.gun)))
        behind = gap <= START_AREA_M and self._is_behind(now, gap)
        if self._short_lap:
            stays = self._note_stay(state, here, behind or gap <= START_RUN_M)
        else:
            stays = self._is_at_waiting_place(state, here)
        laps = self._short_lap and here.t > state.gun + SHORT_LAP_WAIT_S * 1000
        appears = behind and not state.hypotheses
        if stays or (appears and not laps):
            return self._waits(state, here, gap)
        waiting, since = _waited(state)
        hypotheses = self._hypotheses(state, now, since)
        state.at, state.hypotheses = now.t, tuple(hypotheses)
        if not hypotheses or hypotheses[0].misfits:
            return Seen(None)
        best = hypotheses[0]
        if best.distance <= start + 0.5 and gap <= START_AREA_M:
            return self._waits(state, here, gap)
        if appears:
            return self._may_run(state, best)
        near = now.slack + 2 * self._usual * (here.t - since) / 1000
        ran_from, least = best.origin, LATE_RUN_M
        if waiting is not None and best.origin - start <= near:
            least = max(START_RUN_M, now.slack)
            # Before the gun, people who live beside the course look like runners who
            # wait behind the line, unless they have moved far since.
            if waiting.t >= state.gun or gap + waiting.distance >= MOVED_M:
                ran_from = start
        if best.distance - ran_from < least:
            return self._may_run(state, best)
        return self._started(state, best, waiting)

    def _is_behind(self, now: Observation, gap: float) -> bool:
        """Return whether a runner seems to be behind the line before their start."""
        near = self._start, self._start + 3 * gap + 50
        nearest = self._line.near(now.spot, now.noise, 1e9, *near)
        place = min(nearest, key=lambda place: place.beside, default=None)
        return place is None or place.distance - self._start < 1

    def _note_stay(self, state: State, here: Here, at_start: bool) -> bool:
        """Return whether a runner at the start of laps is where the last fix was."""
        last, state.stays = state.stays, here if at_start else None
        return (
            at_start
            and last is not None
            and here.t - last.t >= SERIES_MIN_S * 1000
            and metres_between(last.lat, last.lng, here.lat, here.lng) <= START_RUN_M
        )

    def _step_slow(self, state: State, now: Observation, last: int) -> Seen:
        """Weigh waiting against running on short laps, after a silence since `last`.

        `state.odds` is the logarithm of their ratio. Hypotheses of those who have left
        since the last fix are added to the older ones.
        """
        here, gap, old = now.here, self._gap(now.here), state.hypotheses
        waiting, since = _waited(state)
        place = state.stays
        seconds, at_gun = (here.t - last) / 1000, last <= state.gun and not old
        reach = top_speed_of_a_minute(self._top_speed) * (here.t - since) / 1000
        reach += 2 * now.sigma
        ratio, near = self._waiting.ratio(place, now, reach, at_gun)
        left = 1.0 if at_gun else 1 - math.exp(-seconds / LEAVES_S)
        leaving = math.log(left) + state.odds
        # Those who still wait have left at some time since the last fix.
        ran = seconds if at_gun else seconds / 2
        reach = self._top_speed * seconds + 2 * now.slack
        born = self._mixture.first(now, self._usual, ran, reach)
        found: list[Hypothesis] = []
        if old:
            origin = Node(old[0].since, old[0].origin)
            found = self._moved(state, now, origin, since)
            odds = ratio + state.odds - math.log1p(math.exp(leaving))
            if found and born:
                born = [one._replace(cost=one.cost - 2 * leaving) for one in born]
                found = pruned(found + born)
        else:
            odds = ratio - math.log(left) + (GUN_ODDS if at_gun else 0.0)
        state.odds, state.at = round(odds, 2), now.t
        state.hypotheses = tuple(found or born)
        if ratio > 0 and near and gap <= START_AREA_M:
            state.stays = self._waiting.averaged(place, here)
            if odds > SURE_WAITS:
                return self._waits(state, here, gap)
        if odds > 0 or not state.hypotheses or state.hypotheses[0].misfits:
            return Seen(None)
        best, place = state.hypotheses[0], state.stays
        if odds > SURE_RUNS:
            return self._may_run(state, best)
        if place is not None and state.gun < place.t < best.since:
            waiting = Node(place.t, -round(self._gap(place), 2))
        ran_from, least = self._start, START_RUN_M
        if waiting is None:
            ran_from, least = best.origin, LATE_RUN_M
        if best.distance - ran_from < least:
            return self._may_run(state, best)
        return self._started(state, best, waiting)

    def _is_at_waiting_place(self, state: State, here: Here) -> bool:
        """Return whether a slow phone is still where the runner waited."""
        place, waiting = state.stays, state.waiting
        if place is None or waiting is None:
            return False
        seconds = (here.t - max(waiting.t, state.at)) / 1000
        lap_s = self._lap / (self._usual + USUAL_SPREAD_MPS)
        if not SLOW_INTERVAL_S <= seconds < lap_s:
            return False
        return metres_between(place.lat, place.lng, here.lat, here.lng) <= WAITING_M

    def _may_run(self, state: State, best: Hypothesis) -> Seen:
        """Return the progress of somebody who may have started or may live there."""
        ran = best.distance - self._start
        pace = ran / max((state.t - state.gun) / 1000, 1.0)
        if ran < START_RUN_M or not SLOWEST_MPS <= pace <= top_speed_of_a_minute(
            self._top_speed
        ):
            return Seen(None)
        progress = min(best.distance, self._finish)
        return Seen(progress, round(deviation(state.hypotheses), 2))

    def _hypotheses(
        self, state: State, now: Observation, since: int
    ) -> list[Hypothesis]:
        """Return the hypotheses before a start has been detected, the best first."""
        found = self._moved(state, now, Node(since, self._start), since)
        if found:
            return found
        run = (now.t - since) / 1000
        reach = self._top_speed * run + 2 * now.slack
        return self._mixture.first(now, self._usual, run, reach)

    def _moved(
        self, state: State, now: Observation, origin: Node, since: int
    ) -> list[Hypothesis]:
        """Return the hypotheses of the last fix after this one, the best first.

        The pace counts from `origin`. The runner may have started at `since` (ms).
        """
        if not state.hypotheses:
            return []
        seconds = max((now.t - state.at) / 1000, 0.001)
        reach = self._top_speed * (now.t - since) / 1000 + 2 * now.slack
        ran = state.hypotheses[0].distance - origin.distance
        pace = average_pace(ran, (state.at - origin.t) / 1000, self._top_speed)
        within = self._start, self._start + reach
        found, _ = self._mixture.step(state.hypotheses, now, seconds, pace, within)
        return [each for each in found if not _lingers(each, now.t)]

    def _started(self, state: State, best: Hypothesis, waiting: Node | None) -> Seen:
        now = Node(state.t, min(best.distance, self._finish))
        origin = Node(best.since, best.origin)
        doubt = DOUBT_SIGMAS * math.sqrt(best.variance) / max(best.speed, 1.0)
        state.status, state.certain, state.waiting = "started", now, None
        state.first, state.stays, state.odds = now, None, 0.0
        uncertainty = deviation(state.hypotheses)
        if waiting is None and not self._ran_from_the_gun(state.gun, origin):
            # The runner was elsewhere before, so the marks passed since have no times.
            passed = bisect_right(self._passes, (best.origin,))
            splits, state.next = passings(self._passes, passed, (origin, now), doubt)
            return Seen(now.distance, uncertainty, splits=splits)
        before = waiting or Node(state.gun, 0.0)
        since = max(before.t, state.gun)
        behind, ahead = -before.distance, max(best.origin - self._start, 0.1)
        at = since + (best.since - since) * behind / (behind + ahead)
        # GPS errors make runners who wait at the line seem to cross it and come back.
        # The time at which they ran away from it counts.
        ran = (best.distance - self._start) / max(best.speed, 1.0)
        line = Node(max(at, now.t - 1000 * ran), self._start)
        splits, state.next = passings(self._passes, 0, (line, origin, now), doubt)
        between = (best.since - since) / 1000
        if waiting is None and ahead < SLOWEST_MPS * between:
            # The runner may have waited until they had to run here at top speed.
            most = top_speed_of_a_minute(self._top_speed)
            latest = (now.t - since) / 1000 - (best.distance - self._start) / most
            between = max(between, latest)
        splits = tuple(
            passing._replace(uncertainty=max(passing.uncertainty, between))
            if passing.distance <= origin.distance
            else passing
            for passing in splits
        )
        # GPS errors put runners who wait at the line ahead of it. The pace counts from
        # the line only if they have left it by their first fix, soon after the gun.
        if (waiting is None or waiting.t <= state.gun) and ahead >= max(
            START_RUN_M, SLOWEST_MPS * (best.since - state.gun) / 1000
        ):
            state.first = Node(round(line.t), self._start)
        if waiting is not None:
            state.started = round(line.t)
        return Seen(now.distance, uncertainty, splits=splits)

    def _ran_from_the_gun(self, gun: int, origin: Node) -> bool:
        """Return whether the first fix of a slow phone fits a run from the line."""
        seconds = (origin.t - gun) / 1000
        ran = origin.distance - self._start
        most = top_speed_of_a_minute(self._top_speed) * max(seconds, 1.0)
        return (
            seconds <= SLOW_PHONE_S
            and SLOWEST_MPS * (seconds - CROSSES_S) <= ran <= most
        )


def _waited(state: State) -> tuple[Node | None, int]:
    """Return the last wait before the start, and since when the runner may run (ms)."""
    waiting = state.waiting
    if waiting is None or waiting.t < state.gun - WAITING_MS:
        return None, state.gun
    return waiting, round(max(waiting.t, state.gun))


def _lingers(hypothesis: Hypothesis, t: int) -> bool:
    ran = hypothesis.distance - hypothesis.origin
    seconds = (t - hypothesis.since) / 1000
    return ran < -WRONG_WAY_M or (seconds > LINGERS_S and ran < LINGERS_MPS * seconds)
