"""Follows runners along a course, one fix at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runners.races.course import Course
from runners.races.line import Line
from runners.races.progress.mixture import Mixture
from runners.races.progress.observation import Observation, observe
from runners.races.progress.running import Running
from runners.races.progress.start import Starting
from runners.races.progress.state import (
    MIN_SIGMA_M,
    Confirmed,
    Fix,
    Here,
    Seen,
    State,
    metres_between,
)
from runners.races.splits import Mark, Passing, passes_of
from runners.units.earth import METRES_PER_DEGREE

# Fixes with a worse accuracy are held.
MAX_SHOWN_ACCURACY_M = 100.0


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of all fixes of a runner, in the order of `times` (ms).

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
    """Follows runners along one course. Read-only, shared by all runners of a race."""

    def __init__(
        self, course: Course, marks: Sequence[Mark], *, top_speed: float = 12.5
    ) -> None:
        self.top_speed = top_speed
        self.passes = passes_of(course, marks)
        starts = [mark.distance for mark in marks if mark.kind == "start"]
        finishes = [mark.distance for mark in marks if mark.kind == "finish"]
        self.start = min(starts, default=0.0)
        self.finish = min(max(finishes, default=course.length), course.length)
        self._line = Line(course)
        mixture = Mixture(self._line, self.start, self.finish, top_speed)
        ends = {"start": self.start, "finish": self.finish, "top_speed": top_speed}
        self._starting = Starting(course, self._line, mixture, self.passes, **ends)
        self._running = Running(course, mixture, self.passes, **ends)

    def begin(self, gun: int) -> State:
        """Return the state of a runner whose start is at `gun`, ms since the epoch."""
        return State(gun)

    def advance(self, state: State, fix: Fix) -> tuple[State, Seen]:
        """Return the state after a fix and the progress that it shows.

        A fix that is not newer than the state's newest changes nothing.
        """
        if fix.t <= state.t:
            return state, Seen(state.progress)
        before, state = state, state.copy()
        state.t = fix.t
        if state.finished is not None:
            return state, Seen(state.progress, MIN_SIGMA_M)
        here = Here(fix.t, fix.lat, fix.lng, fix.accuracy)
        if fix.t < state.gun:
            state.shown = here
            return state, self._starting.wait(state, here)
        held, shown = state.held, state.shown
        jumps = (
            state.status != "registered"
            and shown is not None
            and not self._reached(shown, here)
        )
        confirms = held is not None and self._reached(held, here)
        if _is_coarse(here) or (jumps and not confirms):
            state.held = here
            return state, self._running.predicted(state)._replace(held=True)
        now = observe(self._line, state, fix, here)
        state.shown, state.held = here, None
        if jumps and held is not None:
            self._running.jumped(state, held)
        seen = self._follow(state, now)
        # Without a jump the runner is still near the earlier place.
        if held is None or not confirms or not (jumps or _is_coarse(held)):
            return state, seen
        expected = self._running.predicted(before).progress
        confirmed = Confirmed(held.t, held.lat, held.lng, expected)
        return state, seen._replace(confirmed=(confirmed,))

    def replay(self, gun: int, fixes: Iterable[Fix]) -> Replay:
        """Process all fixes of a runner from the beginning, in any order."""
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
                held[index[confirmed.t]] = False
        return Replay(state, splits, times, shown, held)

    def _reached(self, one: Here, other: Here) -> bool:
        """Return whether a runner can have come from one place to the other."""
        seconds = (other.t - one.t) / 1000
        reach = self.top_speed * seconds + one.slack + other.slack
        # Nearly all fixes are this near, and the distance takes ten times as long.
        degrees = abs(other.lat - one.lat) + abs(other.lng - one.lng)
        return (
            degrees * METRES_PER_DEGREE <= reach
            or metres_between(one.lat, one.lng, other.lat, other.lng) <= reach
        )

    def _follow(self, state: State, now: Observation) -> Seen:
        if state.status == "registered":
            return self._starting.step(state, now)
        return self._running.step(state, now)


def _is_coarse(here: Here) -> bool:
    return here.accuracy is not None and here.accuracy > MAX_SHOWN_ACCURACY_M


def _order(fix: Fix) -> tuple[int, float, float]:
    return fix.t, fix.lat, fix.lng
