"""When a runner starts: where they wait, and that they ran away from the line."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from runners.races.course import Course
from runners.races.line import Line, Spot
from runners.races.progress.mixture import Mixture, deviation
from runners.races.progress.motion import DOUBT, fastest_of, usual_pace
from runners.races.progress.state import (
    Here,
    Hypothesis,
    Seen,
    State,
    metres_between,
)
from runners.races.splits import Node, Pass, passings

# Metres from the start line within which a runner waits for the start, and for how
# long before the gun (ms).
START_AREA, WAITING = 500.0, 2 * 3600 * 1000
# Metres run along the course that make a start: from the line, and where no start was
# seen.
START_RUN, LATE_RUN = 30.0, 200.0
# Metres from the start by which somebody is further away than where they waited.
MOVED = 100.0
# Some live or wait beside the course: those who were slower for so many seconds did
# not start there. m/s.
LINGERS_S, LINGERS_MPS = 300.0, 0.5
# Those who may have started were not slower since the gun. m/s.
SLOWEST_MPS = 1.2
# A start that goes back by so many metres was none.
WRONG_WAY = 50.0


class Starting:
    """Sees runners start; read-only."""

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

    def wait(self, state: State, here: Here) -> State:
        """Note how far from the start somebody waits before the gun."""
        gap = self._gap(here)
        return state if gap > START_AREA else self._waits(state, here, gap)

    def _gap(self, here: Here) -> float:
        return metres_between(*self._start_place, here.lat, here.lng)

    def _waits(self, state: State, here: Here, gap: float) -> State:
        return state._replace(hypotheses=(), waiting=Node(here.t, -round(gap, 2)))

    def step(
        self, state: State, here: Here, spot: Spot, noise: float
    ) -> tuple[State, Seen]:
        """Return the state after a fix of somebody whom nobody saw start."""
        start, gap = self._start, self._gap(here)
        if not state.hypotheses and gap <= START_AREA:
            nearest = self._line.near(spot, noise, 1e9, start, start + 3 * gap + 50)
            place = min(nearest, key=lambda place: place.beside, default=None)
            if place is None or place.distance - start < 1:
                return self._waits(state, here, gap), Seen(None)
        waiting = state.waiting
        if waiting is not None and waiting.t < state.gun - WAITING:
            waiting = None
        since = state.gun if waiting is None else round(max(waiting.t, state.gun))
        hypotheses = self._hypotheses(state, here, spot, noise, since)
        state = state._replace(at=here.t, hypotheses=tuple(hypotheses))
        if not hypotheses or hypotheses[0].misfits:
            return state, Seen(None)
        best = hypotheses[0]
        if best.distance <= start + 0.5 and gap <= START_AREA:
            return self._waits(state, here, gap), Seen(None)
        near = here.slack + 2 * self._usual * (here.t - since) / 1000
        ran_from, least = best.origin, LATE_RUN
        if waiting is not None and best.origin - start <= near:
            least = max(START_RUN, here.slack)
            # Before the gun nothing tells who waits behind the line from who lives
            # beside it; unless they are far from where they were.
            if waiting.t >= state.gun or gap + waiting.distance >= MOVED:
                ran_from = start
        if best.distance - ran_from < least:
            return state, self._may_run(state, here, best)
        return self._started(state, here, best, waiting)

    def _may_run(self, state: State, here: Here, best: Hypothesis) -> Seen:
        """Return the progress of somebody who may have started, or may live there."""
        ran = best.distance - self._start
        pace = ran / max((here.t - state.gun) / 1000, 1.0)
        if ran < START_RUN or not SLOWEST_MPS <= pace <= fastest_of(self._top_speed):
            return Seen(None)
        progress = min(best.distance, self._finish)
        return Seen(progress, round(deviation(state.hypotheses), 2))

    def _hypotheses(
        self, state: State, here: Here, spot: Spot, noise: float, since: int
    ) -> list[Hypothesis]:
        """Return where a runner may be whose start nobody saw, the best first."""
        run = (here.t - since) / 1000
        reach = self._top_speed * run + 2 * here.slack
        found: list[Hypothesis] = []
        if state.hypotheses:
            seconds = max((here.t - state.at) / 1000, 0.001)
            high = self._start + reach
            found, _ = self._mixture.step(
                *(state.hypotheses, here, spot, noise, seconds, self._usual),
                (self._start, high),
            )
            found = [each for each in found if not _lingers(each, here.t)]
        if found:
            return found
        return self._mixture.first(here, spot, noise, self._usual, run, reach)

    def _started(
        self, state: State, here: Here, best: Hypothesis, waiting: Node | None
    ) -> tuple[State, Seen]:
        now = Node(here.t, min(best.distance, self._finish))
        origin = Node(best.since, best.origin)
        doubt = DOUBT * math.sqrt(best.variance) / max(best.speed, 1.0)
        if waiting is None:
            # Nobody saw the start, or what came after: no times for them.
            passed = bisect_right(self._passes, (best.origin,))
            splits, following = passings(self._passes, passed, (origin, now), doubt)
            started = None
        else:
            since = max(waiting.t, state.gun)
            behind, ahead = -waiting.distance, max(best.origin - self._start, 0.1)
            at = since + (best.since - since) * behind / (behind + ahead)
            # Those who wait at the line seem to cross it and come back: what counts
            # is when they ran away from it.
            ran = (best.distance - self._start) / max(best.speed, 1.0)
            at = max(at, here.t - 1000 * ran)
            line = Node(at, self._start)
            splits, following = passings(self._passes, 0, (line, origin, now), doubt)
            between = (best.since - since) / 1000
            splits = tuple(
                passing._replace(uncertainty=max(passing.uncertainty, between))
                if passing.distance <= origin.distance
                else passing
                for passing in splits
            )
            started = round(at)
        state = state._replace(
            status="started",
            certain=now,
            first=origin if started is None else Node(started, self._start),
            waiting=None,
            next=following,
            started=started,
        )
        uncertainty = deviation(state.hypotheses)
        return state, Seen(now.distance, uncertainty, splits=splits)


def _lingers(hypothesis: Hypothesis, t: int) -> bool:
    ran = hypothesis.distance - hypothesis.origin
    seconds = (t - hypothesis.since) / 1000
    return ran < -WRONG_WAY or (seconds > LINGERS_S and ran < LINGERS_MPS * seconds)
