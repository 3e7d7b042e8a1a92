"""Follows runners along a course: what each fix shows, from the start to the finish."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runners.races.course import Course
from runners.races.line import Line, Sight, sight_of
from runners.races.progress.belief import STEP, Grid
from runners.races.progress.search import STANDING, WRONG_WAY, Search, pruned
from runners.races.progress.start import Starting
from runners.races.progress.state import (
    Belief,
    Confirmed,
    Fix,
    Guess,
    Here,
    Seen,
    State,
)
from runners.races.splits import Mark, Node, Passing, passes_of, passings

# Accuracies, metres: worse than the first is held, worse than the second moves the
# progress but passes no mark while better fixes come.
SHOW, COUNT = 100.0, 30.0
# Silence, in seconds: after it everything is searched; after it a coarse fix counts.
SILENCE, PATIENCE = 60.0, 30.0
# After so many fixes off the course, and seconds, the runner is.
OFF_FIXES, OFF_SECONDS = 3, 10.0
# Metres from the finish at which somebody who stands has finished.
FINISH_REACH = 15.0
# Whoever appears within so many metres of the finish after such a silence, seconds, may
# have come by bus.
FINISH_NEAR, FINISH_SILENCE = 50.0, 900.0

# How much of the likelihood is around a place that is told, and that counts.
LIKELY, SURE = 0.5, 0.8
# After so many seconds of silence what was likely says nothing.
FORGOTTEN = 900.0


@dataclass(frozen=True, slots=True)
class Replay:
    """What all fixes of a runner show, in the order of `times` (ms).

    `shown` has the progress and its uncertainty in metres.
    """

    state: State
    splits: list[Passing]
    times: list[int]
    shown: list[tuple[float | None, float | None]]
    held: list[bool]

    @property
    def progress(self) -> list[float | None]:
        """Return the progress at each fix."""
        return [progress for progress, _ in self.shown]


class Guide:
    """Follows runners along one course; the same for all of a race, and read-only."""

    def __init__(
        self, course: Course, marks: Sequence[Mark], *, top_speed: float = 12.5
    ) -> None:
        self.top_speed = top_speed
        self._line = Line(course)
        self.passes = passes_of(course, marks)
        starts = [mark.distance for mark in marks if mark.kind == "start"]
        finishes = [mark.distance for mark in marks if mark.kind == "finish"]
        self.start = min(starts, default=0.0)
        self.finish = min(max(finishes, default=course.length), course.length)
        self._search = Search(self._line, self.start, top_speed)
        self._grid = Grid(self._line, top_speed)
        self._starting = Starting(
            course,
            self._line,
            self._search,
            self.passes,
            start=self.start,
            finish=self.finish,
            top_speed=top_speed,
        )

    def begin(self, gun: int) -> State:
        """Return the state of a runner whose start is at `gun`, ms since the epoch."""
        return State(gun)

    def advance(self, state: State, fix: Fix) -> tuple[State, Seen]:
        """Return the state after a fix, and what it showed.

        A fix that is not newer than the state's changes nothing.
        """
        if fix.t <= state.t:
            return state, Seen(state.progress)
        if state.finished is not None:
            return state._replace(t=fix.t), Seen(state.progress)
        here = Here(fix.t, fix.lat, fix.lng, fix.accuracy, fix.speed, fix.heading)
        if fix.t < state.gun:
            state = state._replace(t=fix.t, shown=Here(*here[:4]))
            return self._starting.wait(state, here), Seen(None)
        held, shown = state.held, state.shown
        coarse = here.accuracy is not None and here.accuracy > SHOW
        jumps = (
            state.status != "registered"
            and shown is not None
            and not self._reached(shown, here)
        )
        confirms = held is not None and self._reached(held, here)
        if coarse or (jumps and not confirms):
            state = state._replace(t=fix.t, held=here)
            return state, Seen(None, held=True)
        state = state._replace(t=fix.t, shown=Here(*here[:4]), held=None)
        if held is None or not confirms:
            return self._follow(state, here, lost=False)
        if not jumps:
            if held.accuracy is None or held.accuracy <= SHOW:
                # Where the runner was before is where they still are.
                return self._follow(state, here, lost=False)
            state, seen = self._follow(state, here, lost=False)
            confirmed = Confirmed(held.t, held.lat, held.lng, None)
            return state, seen._replace(confirmed=(confirmed,))
        state, first = self._follow(state, held, lost=True)
        state, seen = self._follow(state, here, lost=False)
        confirmed = Confirmed(held.t, held.lat, held.lng, first.progress)
        splits = first.splits + seen.splits
        return state, seen._replace(confirmed=(confirmed,), splits=splits)

    def replay(self, gun: int, fixes: Iterable[Fix]) -> Replay:
        """Follow all fixes of a runner anew, in whatever order they come."""
        state = self.begin(gun)
        splits: list[Passing] = []
        times: list[int] = []
        shown: list[tuple[float | None, float | None]] = []
        held: list[bool] = []
        index: dict[int, int] = {}
        for fix in sorted(fixes, key=_order):
            state, seen = self.advance(state, fix)
            index[fix.t] = len(times)
            times.append(fix.t)
            shown.append((seen.progress, seen.uncertainty))
            held.append(seen.held)
            splits += seen.splits
            for confirmed in seen.confirmed:
                shown[index[confirmed.t]] = confirmed.progress, None
                held[index[confirmed.t]] = False
        return Replay(state, splits, times, shown, held)

    def _reached(self, one: Here, other: Here) -> bool:
        """Return whether a runner can have come from one place to the other."""
        seconds = (other.t - one.t) / 1000
        reach = self.top_speed * seconds + one.slack + other.slack
        north = (other.lat - one.lat) * 111_195.0
        if abs(north) > reach:
            return False
        east = (other.lng - one.lng + 180) % 360 - 180
        east *= 111_195.0 * math.cos(math.radians(one.lat))
        return east * east + north * north <= reach * reach

    def _follow(self, state: State, here: Here, *, lost: bool) -> tuple[State, Seen]:
        x, y = self._line.flat(here.lat, here.lng)
        sigma = here.sigma
        sight = sight_of(x, y, sigma, speed=here.speed, heading=here.heading)
        if state.status == "registered":
            return self._starting.step(state, here, sight)
        return self._run(state, here, sight, lost=lost)

    def _run(
        self, state: State, here: Here, sight: Sight, *, lost: bool
    ) -> tuple[State, Seen]:
        if not lost and self._is_folded(state, here):
            return self._believe(state, here, sight)
        if state.belief is not None:
            state = state._replace(belief=None)
        guesses: list[Guess] = []
        if state.guesses and not lost and here.t - state.at <= SILENCE * 1000:
            guesses = self._search.moved(state, here, sight)
            if (
                len(guesses) == 1
                and guesses[0].distance < guesses[0].origin - WRONG_WAY
            ):
                guesses = self._search.turned(guesses[0], here, sight)
        else:
            guesses = self._search.again(state, here, sight, lost=lost)
        if not guesses:
            return self._away(state, here)
        guesses = pruned(guesses)
        best = guesses[0]
        state = state._replace(
            status="started", away=0, at=here.t, guesses=tuple(guesses)
        )
        if len(guesses) > 1:
            return state, Seen(None)
        best = best._replace(cost=0.0)
        state = state._replace(guesses=(best,))
        certain = state.certain
        assert certain is not None
        if not self._counts(here, certain.t):
            uncertainty = math.sqrt(best.variance)
            return state, Seen(min(best.distance, self.finish), uncertainty)
        if (
            best.origin >= self.finish - FINISH_NEAR
            and best.since - certain.t > FINISH_SILENCE * 1000
        ):
            return state, Seen(certain.distance)
        return self._count(state, here, best, certain)

    def _count(
        self, state: State, here: Here, best: Guess, certain: Node
    ) -> tuple[State, Seen]:
        nodes = [certain]
        if certain.t < best.since < here.t:
            nodes.append(Node(best.since, best.origin))
        reached = best.distance
        # Who moves may still stop before the finish.
        short = FINISH_REACH if best.speed <= STANDING else 0.0
        if reached >= self.finish - short:
            reached = max(reached, self.finish)
        nodes.append(Node(here.t, reached))
        splits, following = passings(self.passes, state.next, nodes)
        progress = min(reached, self.finish)
        if best.distance >= best.origin:
            best = best._replace(since=here.t, origin=best.distance)
        state = state._replace(
            guesses=(best,), certain=Node(here.t, progress), next=following
        )
        if reached >= self.finish:
            at = _moment(nodes, self.finish)
            state = state._replace(status="finished", finished=at, guesses=())
        return state, Seen(progress, math.sqrt(best.variance), splits=splits)

    # Where the course lies in folds closer than the noise

    def _is_folded(self, state: State, here: Here) -> bool:
        belief = state.belief
        if belief is not None:
            if here.t - belief.at > FORGOTTEN * 1000:
                return False
            return belief.share < SURE or self._grid.is_folded(
                belief.distance, here.sigma
            )
        return (
            len(state.guesses) == 1
            and here.t - state.at <= SILENCE * 1000
            and self._grid.is_folded(state.guesses[0].distance, here.sigma)
        )

    def _believe(self, state: State, here: Here, sight: Sight) -> tuple[State, Seen]:
        belief, certain = state.belief, state.certain
        assert certain is not None
        if belief is None:
            belief = self._grid.begin(state.at, state.guesses[0])
        elif here.t - belief.at < STEP * 1000:
            return state, self._believed(belief, here)
        after = self._grid.step(belief, here.t, sight, here.speed, here.limit)
        if after is None:
            return self._away(state, here)
        distance, variance = after.distance, after.deviation**2
        best = Guess(distance, after.speed, variance, 0.0, here.t, distance)
        state = state._replace(
            status="started", away=0, at=here.t, guesses=(best,), belief=after
        )
        if after.share < SURE or not self._counts(here, certain.t):
            return state, self._believed(after, here)
        state, seen = self._count(state, here, best, certain)
        if state.finished is not None:
            state = state._replace(belief=None)
        return state, seen

    def _believed(self, belief: Belief, here: Here) -> Seen:
        if belief.share < LIKELY:
            return Seen(None)
        moved = belief.speed * (here.t - belief.at) / 1000
        return Seen(min(belief.distance + moved, self.finish), belief.deviation)

    def _away(self, state: State, here: Here) -> tuple[State, Seen]:
        since = state.away_since if state.away else here.t
        status, away = state.status, state.away + 1
        if away >= OFF_FIXES and here.t - since >= OFF_SECONDS * 1000:
            status = "off_course"
        state = state._replace(
            status=status, away=min(away, OFF_FIXES), away_since=since
        )
        return state, Seen(state.progress)

    def _counts(self, here: Here, last: float) -> bool:
        """Return whether a fix is accurate enough to pass marks."""
        return (
            here.accuracy is None
            or here.accuracy <= COUNT
            or here.t - last > PATIENCE * 1000
        )


def _moment(nodes: Sequence[Node], distance: float) -> int:
    for before, node in zip(nodes, nodes[1:], strict=False):
        if node.distance >= distance:
            part = (distance - before.distance) / (node.distance - before.distance)
            return round(before.t + max(part, 0.0) * (node.t - before.t))
    return round(nodes[-1].t)


def _order(fix: Fix) -> tuple[int, float, float]:
    return fix.t, fix.lat, fix.lng
