"""Detects the start of a runner from their waiting place and the run from the line."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from runners.races.course import Course
from runners.races.line import Line
from runners.races.progress.mixture import LASTING_S, Mixture, deviation, pruned
from runners.races.progress.motion import (
    DOUBT_SIGMAS,
    Pace,
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
from runners.races.progress.waiting import Waiting, left
from runners.races.splits import Node, Pass, passings

# Runners wait for the start within this distance of the line, from this long before the
# gun.
START_AREA_M = 500.0
WAITING_MS = 2 * 3600 * 1000
# A run of this length along the course is a start.
START_RUN_M = 30.0
# The same for runners who have no fix in the start area.
LATE_RUN_M = 200.0
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
# The odds of waiting are a logarithm. Above SURE_WAITS runners wait, and they have
# started below SURE_RUNS. Late starters, of whom a fix fits several places, have a
# progress below LIKELY_RUNS.
SURE_WAITS = 4.0
LIKELY_RUNS = -3.5
SURE_RUNS = -5.0
# On laps up to this length, as on a track, each end of a lap is near the start.
SHORT_LAP_M = 1_000.0
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
        lap = min((lap for lap in laps if lap > START_RUN_M), default=finish - start)
        lap = max(lap, START_RUN_M)
        self._waiting = Waiting(line, start, self._start_place, lap)

    def wait(self, state: State, here: Here) -> Seen:
        """Record the distance from the start of a runner who waits before the gun."""
        gap = self._gap(here)
        if gap > START_AREA_M:
            state.stays = None
            return Seen(None)
        state.stays = self._waiting.averaged(state.stays, here)
        return self._waits(state, here, gap)

    def _gap(self, here: Here) -> float:
        return metres_between(*self._start_place, here.lat, here.lng)

    def _waits(self, state: State, here: Here, gap: float) -> Seen:
        state.hypotheses, state.waiting = (), Node(here.t, -round(gap, 2))
        return Seen(None)

    def step(self, state: State, now: Observation) -> Seen:
        """Change the state by a fix of a runner without a detected start.

        `state.odds` is the logarithm of the ratio of waiting and running. Hypotheses of
        those who have left since the last fix are added to the older ones.
        """
        here, gap, old = now.here, self._gap(now.here), state.hypotheses
        waiting, since = _waited(state)
        last = max(state.at, state.gun, waiting.t if waiting else 0)
        seconds = max((here.t - last) / 1000, 1.0)
        origin = self._left(state)
        if seconds < LASTING_S and (old or waiting):
            found = self._moved(state, now, origin, since)
            if not found or state.odds > 0:
                return Seen(None)
            return self._shown(state, found)
        place, before = state.stays, state.elsewhere
        reach = self._top_speed * (here.t - state.gun) / 1000 + 2 * now.slack
        places = self._waiting.places(now, self._start + reach)
        waits, near = self._waiting.waits(place, before, now, seconds)
        # Without a hypothesis they may have left at any time since they waited.
        after = ((last if old else since) - state.gun) / 1000
        until = max((here.t - state.gun) / 1000, after + 1.0)
        leaves = left(after, until)
        share = leave = sum(part.share for part in leaves)
        reach = self._top_speed * (until - after) + 2 * now.slack
        runs, found = self._waiting.starts(places, now, leaves, self._usual, reach)
        if old:
            pace = self._pace(state, origin)
            ran_on = math.exp(-state.odds)
            ahead = ran_on * self._waiting.runs(old, places, now, seconds, pace)
            extra = 2 * math.log(ahead / runs)
            runs, share = runs + ahead, share + ran_on
            found = [one._replace(cost=one.cost + extra) for one in found]
            found = pruned(found + self._moved(state, now, origin, since))
        odds = math.log((1 - leave) * waits / runs)
        near = near and waits * share > runs
        state.odds = round(max(min(odds, 20.0), -20.0), 2)
        state.hypotheses = tuple(found)
        state.at, state.elsewhere = now.t, here
        if near and gap <= START_AREA_M:
            state.stays = self._waiting.averaged(place, here)
            if odds > SURE_WAITS:
                return self._waits(state, here, gap)
        if odds > 0 or not state.hypotheses or state.hypotheses[0].misfits:
            return Seen(None)
        best, place = state.hypotheses[0], state.stays
        if odds > SURE_RUNS:
            return self._shown(state, state.hypotheses)
        at_start = best.origin - self._start <= START_RUN_M
        if (
            place is not None
            and state.gun < place.t < here.t
            and (place.t < best.since or at_start)
        ):
            waiting = Node(place.t, -round(self._gap(place), 2))
            if best.since <= place.t:
                best = best._replace(since=here.t, origin=best.distance)
        ran_from, least = self._start, START_RUN_M
        if waiting is None and not at_start:
            ran_from, least = best.origin, LATE_RUN_M
        if best.distance - ran_from < least:
            return self._shown(state, state.hypotheses)
        return self._started(state, best, waiting)

    def _shown(self, state: State, found: Sequence[Hypothesis]) -> Seen:
        """Return the progress of a runner who has probably started."""
        best = found[0]
        ran = best.distance - self._start
        slowest = SLOWEST_MPS * (state.t - state.gun) / 1000
        doubtful = len(found) > 1 and state.odds > LIKELY_RUNS
        if ran < 1.0 or (ran < slowest and doubtful):
            return Seen(None)
        waits = ran / math.sqrt(1 + math.exp(-state.odds))
        progress = min(best.distance, self._finish)
        return Seen(progress, round(math.hypot(deviation(found), waits), 2))

    def _left(self, state: State) -> Node:
        """Return when and where the likeliest hypothesis has probably left."""
        place, until = state.stays, state.at
        if state.hypotheses:
            until = state.hypotheses[0].since
        since = state.gun
        if place is not None and place.t < until:
            since = max(since, place.t)
        if until <= since:
            return Node(since, self._start)
        leaves = left((since - state.gun) / 1000, (until - state.gun) / 1000)
        ran = sum(part.share * part.seconds for part in leaves)
        ran /= sum(part.share for part in leaves)
        return Node(round(until - 1000 * ran), self._start)

    def _pace(self, state: State, origin: Node) -> Pace:
        ran = state.hypotheses[0].distance - origin.distance
        return average_pace(ran, (state.at - origin.t) / 1000, self._top_speed)

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
        within = self._start, self._start + reach
        pace = self._pace(state, origin)
        found, _ = self._mixture.step(state.hypotheses, now, seconds, pace, within)
        return [each for each in found if not _lingers(each, now.t)]

    def _started(self, state: State, best: Hypothesis, waiting: Node | None) -> Seen:
        now = Node(state.t, min(best.distance, self._finish))
        origin = Node(best.since, best.origin)
        doubt = DOUBT_SIGMAS * math.sqrt(best.variance) / max(best.speed, 1.0)
        state.status, state.certain, state.waiting = "started", now, None
        state.first, state.stays, state.elsewhere, state.odds = now, None, None, 0.0
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
        if waiting is not None or best.origin - self._start <= START_RUN_M:
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
