"""When a runner starts: where they wait, and that they ran away from the line."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from runners.races.course import Course
from runners.races.line import Line, Prior, Sight
from runners.races.progress.search import USUAL_PACE, WRONG_WAY, Search, pruned
from runners.races.progress.state import Guess, Here, Seen, State
from runners.races.splits import Node, Pass, passings

# Metres from the start line within which a runner waits for the start, and for how
# long before the gun (ms).
START_AREA, WAITING = 500.0, 2 * 3600 * 1000
# Metres run along the course that make a start: from the line, and where no start was
# seen; and in at most how many seconds, for some live or wait beside it.
START_RUN, LATE_RUN, LINGERS = 30.0, 200.0, 300.0


class Starting:
    """Sees runners start; read-only."""

    def __init__(
        self,
        course: Course,
        line: Line,
        search: Search,
        passes: Sequence[Pass],
        *,
        start: float,
        finish: float,
        top_speed: float,
    ) -> None:
        self._line = line
        self._search = search
        self._passes = passes
        self._start, self._finish = start, finish
        self._top_speed = top_speed
        self._start_place = line.flat(*course.point_at(start))

    def wait(self, state: State, here: Here) -> State:
        """Note how far from the start somebody waits before the gun."""
        x, y = self._line.flat(here.lat, here.lng)
        gap = math.hypot(x - self._start_place[0], y - self._start_place[1])
        return state if gap > START_AREA else self._waits(state, here, gap)

    def _waits(self, state: State, here: Here, gap: float) -> State:
        return state._replace(guesses=(), waiting=Node(here.t, -round(gap, 2)))

    def step(self, state: State, here: Here, sight: Sight) -> tuple[State, Seen]:
        """Return the state after a fix of somebody whom nobody saw start."""
        start = self._start
        gap = math.hypot(sight.x - self._start_place[0], sight.y - self._start_place[1])
        if not state.guesses and gap <= START_AREA:
            flat = Prior(start, 1e8, start, start + gap + 1)
            nearest = self._line.best(sight._replace(east=0.0, north=0.0), flat)
            if nearest.distance - start < 1:
                return self._waits(state, here, gap), Seen(None)
        waiting = state.waiting
        if waiting is not None and waiting.t < state.gun - WAITING:
            waiting = None
        since = state.gun if waiting is None else round(max(waiting.t, state.gun))
        reach = self._top_speed * (here.t - since) / 1000 + 2 * here.slack
        guesses = [
            guess
            for guess in self._search.moved(state, here, sight)
            if here.t - guess.since <= LINGERS * 1000
            and guess.distance > guess.origin - 2 * WRONG_WAY
        ]
        if not guesses:
            guesses = self._search.first(here, sight, since, reach)
        guesses = pruned(guesses)
        state = state._replace(at=here.t, guesses=tuple(guesses))
        if not guesses:
            return state, Seen(None)
        best = guesses[0]
        if best.distance <= start + 0.5 and gap <= START_AREA:
            return self._waits(state, here, gap), Seen(None)
        near = here.slack + 2 * USUAL_PACE * (here.t - since) / 1000
        ran_from, least = best.origin, LATE_RUN
        if waiting is not None and best.origin - start <= near:
            least = max(START_RUN, here.slack)
            # Before the gun nothing tells who waits behind the line from who lives
            # beside it.
            if waiting.t >= state.gun:
                ran_from = start
        if best.distance - ran_from < least:
            return state, Seen(None)
        return self._started(state, here, best, waiting)

    def _started(
        self, state: State, here: Here, best: Guess, waiting: Node | None
    ) -> tuple[State, Seen]:
        now = Node(here.t, min(best.distance, self._finish))
        origin = Node(best.since, best.origin)
        if waiting is None:
            # Nobody saw the start, or what came after: no times for them.
            passed = bisect_right(self._passes, (best.origin,))
            splits, following = passings(self._passes, passed, (origin, now))
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
            splits, following = passings(self._passes, 0, (line, origin, now))
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
            guesses=(best._replace(cost=0.0),),
            certain=now,
            waiting=None,
            next=following,
            started=started,
        )
        return state, Seen(now.distance, splits=splits)
