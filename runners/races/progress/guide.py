"""Follows a runner along a course from the start to the finish, one fix at a time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from runners.races.course import Course
from runners.races.line import Line, Spot, spot_of
from runners.races.progress.mixture import (
    CUT_M,
    CUT_S,
    Mixture,
    deviation,
    share_of_best,
)
from runners.races.progress.motion import (
    DOUBT_SIGMAS,
    USUAL_WEIGHT_S,
    top_average,
    usual_pace,
)
from runners.races.progress.start import Starting
from runners.races.progress.state import (
    ACCURACY_SIGMAS,
    MAX_OFF_COURSE_M,
    MIN_SIGMA_M,
    Confirmed,
    Fix,
    Here,
    Hypothesis,
    Seen,
    Stands,
    State,
    Trail,
    metres_between,
)
from runners.races.splits import Mark, Node, Passing, passes_of, passings

# Fixes with a worse accuracy are held.
MAX_SHOWN_ACCURACY_M = 100.0
# Worse fixes move the progress, but pass no mark while better ones arrive.
MAX_COUNTED_ACCURACY_M = 30.0
# Without a good fix for this time, a coarse one counts.
COARSE_COUNTS_AFTER_S = 30.0
# A place counts if this share of the likelihood is around it.
SURE_SHARE = 0.9
# After this time the best of several places counts. Later evidence may correct it.
UNDECIDED_S = 100.0
# The time over which a phone's errors are averaged.
NOISE_MEMORY_S = 90.0
# The averaged variance is at least the reported one divided by this, and at most the
# reported one times a factor, or the usual variance.
NOISE_MAX_DIVISOR = 2.0
NOISE_MAX_FACTOR = 4.0
NOISE_USUAL_M2 = 15.0**2
# A runner is off the course after FAR_S at more than FAR_M from it if the distance has
# grown by LEAVES_M, after STAYS_FAR_S if it has not, and after BESIDE_S below FAR_M.
FAR_M = 60.0
FAR_S = 6.0
LEAVES_M = 15.0
STAYS_FAR_S = 120.0
BESIDE_S = 240.0
# The distance of a runner who leaves the course grows gradually. A jump by SUDDEN_M is
# probably an error, so the distance then has to grow by SUDDEN_EXTRA_M more.
SUDDEN_M = 20.0
SUDDEN_EXTRA_M = 40.0
# Fixes beside the course are counted up to this number.
MAX_FIXES_BESIDE = 3
# A runner who stands within FINISH_REACH_M of the finish has finished after STANDS_S.
# Farther from it than NEAR_FINISH_M this takes RESTS_S, unless the phone sends slowly.
FINISH_REACH_M = 45.0
NEAR_FINISH_M = 10.0
STANDS_M = 15.0
STANDS_S = 9.0
RESTS_S = 110.0
SLOW_INTERVAL_S = 25.0
# Slower runners count as standing.
STANDING_MPS = 1.0
# Runners lost by map matching are at the finish within this distance of it.
FINISH_AREA_M = 150.0
# Runners who appear at the finish after this time without a fix have not run there.
UNSEEN_S = 3_600.0
# A place farther back than this is not noise: checkpoints are passed again.
CORRECTED_M = 150.0
# If no fix matches the course for this time, the runner may be anywhere.
ANYWHERE_AFTER_S = 250.0
# Speeds are measured between this many places, at least TRAIL_S apart.
TRAIL_S = 60.0
TRAIL_LENGTH = 5
# A ride is longer than RIDE_M, and by RIDE_SLACK_M longer than anybody can run.
RIDE_M = 400.0
RIDE_SLACK_M = 150.0
# Over longer silences the distance along the course is measured too.
SILENT_RIDE_S = 240.0
# After a ride a runner counts again near the place where they left, or after a run of
# this length.
RETURN_M = 300.0
RUN_AGAIN_M = 300.0


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
        self._usual_pace = usual_pace(top_speed)
        self._line = Line(course)
        self.passes = passes_of(course, marks)
        starts = [mark.distance for mark in marks if mark.kind == "start"]
        finishes = [mark.distance for mark in marks if mark.kind == "finish"]
        self.start = min(starts, default=0.0)
        self.finish = min(max(finishes, default=course.length), course.length)
        self._finish_place = course.point_at(self.finish)
        self._mixture = Mixture(self._line, self.start, top_speed)
        self._starting = Starting(
            course,
            self._line,
            self._mixture,
            self.passes,
            start=self.start,
            finish=self.finish,
            top_speed=top_speed,
        )

    def begin(self, gun: int) -> State:
        """Return the state of a runner whose start is at `gun`, ms since the epoch."""
        return State(gun)

    def advance(self, state: State, fix: Fix) -> tuple[State, Seen]:
        """Return the state after a fix and the progress that it shows.

        A fix that is not newer than the state's newest changes nothing.
        """
        if fix.t <= state.t:
            return state, Seen(state.progress)
        if state.finished is not None:
            return state._replace(t=fix.t), Seen(state.progress, MIN_SIGMA_M)
        here = Here(fix.t, fix.lat, fix.lng, fix.accuracy, fix.speed, fix.heading)
        if fix.t < state.gun:
            state = state._replace(t=fix.t, shown=Here(*here[:4]))
            return self._starting.wait(state, here), Seen(None)
        held, shown = state.held, state.shown
        coarse = here.accuracy is not None and here.accuracy > MAX_SHOWN_ACCURACY_M
        jumps = (
            state.status != "registered"
            and shown is not None
            and not self._reached(shown, here)
        )
        confirms = held is not None and self._reached(held, here)
        if coarse or (jumps and not confirms):
            state = state._replace(t=fix.t, held=here)
            return state, self._predicted(state)._replace(held=True)
        before = state
        state = state._replace(t=fix.t, shown=Here(*here[:4]), held=None)
        if jumps and held is not None and state.hypotheses:
            lost = state.hypotheses[0]._replace(misfits=1.0)
            state = self._rides(state, held, lost, self._usual(state))
        state, seen = self._follow(state, here)
        if held is None or not confirms:
            return state, seen
        if not jumps and (
            held.accuracy is None or held.accuracy <= MAX_SHOWN_ACCURACY_M
        ):
            # The runner is still near the earlier place.
            return state, seen
        expected = self._predicted(before).progress
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
        return metres_between(one.lat, one.lng, other.lat, other.lng) <= reach

    def _follow(self, state: State, here: Here) -> tuple[State, Seen]:
        x, y = self._line.place(here.lat, here.lng)
        spot = spot_of(x, y, speed=here.speed, heading=here.heading)
        noise = _noise(state, here)
        here = here._replace(accuracy=ACCURACY_SIGMAS * math.sqrt(noise))
        if state.status == "registered":
            return self._starting.step(state, here, spot, noise)
        return self._run(state, here, spot, noise)

    def _usual(self, state: State) -> float:
        """Return the runner's average pace since the start, m/s."""
        certain, first = state.certain, state.first
        if certain is None or first is None:
            return self._usual_pace
        seconds = max((certain.t - first.t) / 1000, 0.0)
        metres = certain.distance - first.distance
        usual = (metres + self._usual_pace * USUAL_WEIGHT_S) / (
            seconds + USUAL_WEIGHT_S
        )
        return min(max(usual, 0.5), self.top_speed)

    def _predicted(self, state: State) -> Seen:
        """Return the expected progress at the newest fix, ignoring its position."""
        certain = state.certain
        if certain is None or not state.hypotheses:
            return Seen(state.progress)
        best = state.hypotheses[0]
        seconds = (state.t - state.at) / 1000
        usual = self._usual(state)
        if state.status == "off_course" or state.rode:
            return Seen(certain.distance, _lost_for(usual, state.t, certain))
        spread = math.hypot(deviation(state.hypotheses), 0.3 * usual * seconds)
        progress = best.distance + min(best.speed, usual) * seconds
        return Seen(min(max(progress, 0.0), self.finish), spread)

    def _run(
        self, state: State, here: Here, spot: Spot, noise: float
    ) -> tuple[State, Seen]:
        certain = state.certain
        assert certain is not None
        seconds = max((here.t - state.at) / 1000, 0.001)
        usual = self._usual(state)
        hypotheses, beside = self._mixture.step(
            self._parents(state, certain, usual),
            here,
            spot,
            noise,
            seconds,
            usual,
            (self.start, self._farthest(state, here, certain, usual)),
        )
        state = state._replace(
            **_besides(state, here, beside, noise, 1.5 * usual * seconds),
            at=here.t,
            hypotheses=tuple(hypotheses),
        )
        best = hypotheses[0]
        state = self._rides(state, here, best, usual)
        best = state.hypotheses[0]
        elsewhere = state.elsewhere
        if best.misfits and (elsewhere is None or not _is_near(here, elsewhere)):
            state = state._replace(elsewhere=Here(*here[:4]))
        elif elsewhere is not None and not best.misfits:
            state = state._replace(elsewhere=None)
        if best.misfits or (state.rode and not self._runs_again(state, best, usual)):
            return self._lost(state, here, best, certain, usual)
        around = 3 * math.sqrt(best.variance) + 15
        share = share_of_best(hypotheses, around, self.finish)
        unsure = 0 if share >= SURE_SHARE else state.unsure or here.t
        state = state._replace(
            status="started",
            rode=False,
            noise=_learned(state.noise, noise, beside, seconds),
            unsure=unsure,
        )
        since = (best.since if best.since > certain.t else here.t) - certain.t
        if since > UNSEEN_S * 1000 and best.distance > self.finish - FINISH_AREA_M:
            # A runner who appears at the finish after an hour may have come by bus.
            return state, Seen(certain.distance, _lost_for(usual, here.t, certain))
        undecided = unsure and here.t - unsure < UNDECIDED_S * 1000
        if undecided or not self._counts(here, certain.t):
            return state, self._seen(hypotheses)
        return self._count(state, here, best, certain, usual)

    def _farthest(self, state: State, here: Here, certain: Node, usual: float) -> float:
        """Return the farthest distance that the runner may have reached, in metres.

        Waiting at a place that was out of reach does not bring it into reach.
        """
        until, elsewhere = here.t, state.elsewhere
        if elsewhere is not None and _is_near(here, elsewhere):
            until = elsewhere.t
        since = max((until - certain.t) / 1000, 1.0)
        reach = top_average(usual, since, self.top_speed) * since
        cut = CUT_M * max(1 - since / CUT_S, 0.1)
        return certain.distance + reach + cut + 2 * here.slack

    def _parents(
        self, state: State, certain: Node, usual: float
    ) -> Sequence[Hypothesis]:
        """Return the hypotheses to continue from. Off the course the runner may be
        anywhere.
        """
        if not state.hypotheses:
            return [_lost_at(state.at, certain, usual, 0.0)]
        off = state.status == "off_course"
        return [
            _lost_at(state.at, certain, usual, hypothesis.cost)
            if hypothesis.misfits and (off or hypothesis.misfits >= ANYWHERE_AFTER_S)
            else hypothesis
            for hypothesis in state.hypotheses
        ]

    def _seen(self, hypotheses: Sequence[Hypothesis]) -> Seen:
        progress = min(max(hypotheses[0].distance, self.start), self.finish)
        return Seen(round(progress, 2), round(deviation(hypotheses), 2))

    def _count(
        self, state: State, here: Here, best: Hypothesis, certain: Node, usual: float
    ) -> tuple[State, Seen]:
        nodes = [certain]
        if certain.t < best.since < here.t:
            nodes.append(Node(best.since, best.origin))
        reached = best.distance
        state = self._stands(state, here, best, certain, usual)
        doubt = DOUBT_SIGMAS * math.sqrt(best.variance) / max(usual, best.speed)
        stands = state.stands
        if stands is not None and _stood(stands, here, best, certain, self.finish):
            # The runner has crossed the line and gone back, or stands a little short of
            # it because of GPS errors.
            nodes, reached = [nodes[0]._replace(t=stands.crossed)], self.finish + 1
            doubt = stands.doubt
        nodes.append(Node(here.t, reached))
        following = state.next
        if reached < certain.distance - CORRECTED_M:
            following = bisect_right(self.passes, (reached,))
        splits, following = passings(self.passes, following, nodes, doubt)
        progress = min(max(reached, self.start), self.finish)
        progress = self.finish if reached >= self.finish else round(progress, 2)
        state = state._replace(certain=Node(here.t, progress), next=following)
        seen = self._seen(state.hypotheses)
        if splits:
            seen = seen._replace(splits=splits)
        if reached < self.finish:
            return state, seen
        state = state._replace(
            status="finished",
            finished=_moment(nodes, self.finish),
            hypotheses=(),
            trail=(),
        )
        return state, seen._replace(progress=self.finish)

    def _stands(
        self,
        state: State,
        here: Here,
        best: Hypothesis,
        certain: Node,
        usual: float,
    ) -> State:
        """Record since when a runner stands near the finish and when they crossed."""
        stands = state.stands
        if best.distance < self.finish - FINISH_REACH_M:
            return state if stands is None else state._replace(stands=None)
        if stands is not None and abs(best.distance - stands.distance) <= STANDS_M:
            return state
        run = max(self.finish - certain.distance, 0.0) / usual
        crossed = min(certain.t + 1000 * run, here.t)
        doubt = max((here.t - certain.t) / 1000, FINISH_REACH_M / usual)
        return state._replace(
            stands=Stands(here.t, best.distance, round(crossed), round(doubt, 1))
        )

    def _lost(
        self, state: State, here: Here, best: Hypothesis, certain: Node, usual: float
    ) -> tuple[State, Seen]:
        """Return the state and progress while fixes do not match the expectation."""
        if (
            state.status == "off_course"
            or state.rode
            or best.misfits >= ANYWHERE_AFTER_S
        ):
            if state.rode:
                state = state._replace(status="off_course")
            return state, Seen(certain.distance, _lost_for(usual, here.t, certain))
        short = self.finish - best.distance + math.sqrt(best.variance)
        if short <= 0 and (
            metres_between(here.lat, here.lng, *self._finish_place) <= FINISH_AREA_M
        ):
            # The runner has left the course behind the finish line.
            over = best._replace(distance=self.finish + 1.0)
            return self._count(state, here, over, certain, usual)
        return state, self._seen(state.hypotheses)

    # -- rides

    def _rides(self, state: State, here: Here, best: Hypothesis, usual: float) -> State:
        """Record whether the runner was faster than anybody can run, for two fixes."""
        trail = state.trail
        certain = state.certain
        assert certain is not None
        along = None if best.misfits else best.distance
        now = Trail(here.t, here.lat, here.lng, along)
        if not trail:
            return state._replace(trail=(now,))
        if not state.fast and here.t - trail[-1].t < TRAIL_S * 1000:
            return state
        before = next((old for old in trail if self._is_ride(old, now, usual)), None)
        if before is None:
            return state._replace(trail=(*trail[1 - TRAIL_LENGTH :], now), fast=False)
        if state.rode or not state.fast:
            return state._replace(fast=True)
        if before.distance is not None and before.distance < certain.distance:
            certain = Node(before.t, before.distance)
        return state._replace(
            rode=True,
            fast=False,
            certain=certain,
            trail=(now,),
            hypotheses=(_lost_at(here.t, certain, usual, 0.0),),
            stands=None,
        )

    def _is_ride(self, before: Trail, now: Trail, usual: float) -> bool:
        seconds = (now.t - before.t) / 1000
        metres = metres_between(before.lat, before.lng, now.lat, now.lng)
        if (
            seconds > SILENT_RIDE_S
            and before.distance is not None
            and now.distance is not None
        ):
            metres = max(metres, now.distance - before.distance)
        most = top_average(usual, seconds, self.top_speed) * seconds + RIDE_SLACK_M
        return metres > max(RIDE_M, most)

    def _runs_again(self, state: State, best: Hypothesis, usual: float) -> bool:
        certain = state.certain
        assert certain is not None
        if abs(best.distance - certain.distance) <= RETURN_M:
            return True
        seconds = max((state.t - best.since) / 1000, 1.0)
        ran = best.distance - best.origin
        since = (state.t - certain.t) / 1000
        return (
            ran >= RUN_AGAIN_M
            and best.speed > 1.0
            and ran / seconds <= 1.3 * usual
            and best.distance - certain.distance <= 1.3 * usual * since
        )

    def _counts(self, here: Here, last: float) -> bool:
        """Return whether a fix is accurate enough to pass marks."""
        return (
            here.accuracy is None
            or here.accuracy <= MAX_COUNTED_ACCURACY_M
            or here.t - last > COARSE_COUNTS_AFTER_S * 1000
        )


def _stood(
    stands: Stands, here: Here, best: Hypothesis, certain: Node, finish: float
) -> bool:
    """Return whether a runner has stood long enough. Farther off they may only rest."""
    near = (
        best.speed <= STANDING_MPS
        and finish - best.distance <= NEAR_FINISH_M + math.sqrt(best.variance)
    )
    slow = here.t - certain.t >= SLOW_INTERVAL_S * 1000
    return here.t - stands.since >= (STANDS_S if near or slow else RESTS_S) * 1000


def _is_near(one: Here, other: Here) -> bool:
    return metres_between(one.lat, one.lng, other.lat, other.lng) <= RETURN_M


def _noise(state: State, here: Here) -> float:
    """Return the variance of each axis, from the reported and the averaged errors."""
    reported = here.sigma**2
    if state.noise is None:
        return reported
    most = max(reported * NOISE_MAX_FACTOR, NOISE_USUAL_M2)
    noise = min(max(state.noise, reported / NOISE_MAX_DIVISOR), most)
    return max(noise, MIN_SIGMA_M**2)


def _learned(noise: float | None, usual: float, beside: float, seconds: float) -> float:
    if noise is None:
        return round(usual, 1)
    part = min(seconds / NOISE_MEMORY_S, 0.2)
    return round(noise + part * (beside * beside - noise), 1)


def _besides(
    state: State, here: Here, beside: float, noise: float, most: float
) -> dict[str, Any]:
    """Return the changes of the state for a fix at a distance from the course.

    `beside` is that distance and `most` the farthest run since the last fix, in metres.
    The distance of a runner who leaves the course grows steadily. GPS errors come
    suddenly or stay about the same.
    """
    if beside <= here.limit:
        if not state.away:
            return {"beside": round(beside, 1)}
        return {"away": 0, "away_since": 0, "far": None, "beside": round(beside, 1)}
    since, far = state.away_since or here.t, state.far
    if not state.away and beside - state.beside > most + math.sqrt(noise) + SUDDEN_M:
        far = Node(here.t, round(beside + SUDDEN_EXTRA_M, 1))
    elif beside <= max(FAR_M, here.limit):
        far = far if far is not None and far.distance > beside else None
    elif far is None:
        far = Node(here.t, round(beside, 1))
    away = min(state.away + 1, MAX_FIXES_BESIDE)
    away_for = (here.t - since) / 1000
    far_for = 0.0 if far is None else (here.t - far.t) / 1000
    leaves = far is not None and beside >= far.distance + LEAVES_M
    is_off = away > 1 and (
        (leaves and far_for >= FAR_S)
        or (beside > MAX_OFF_COURSE_M and away_for >= FAR_S)
        or (beside > FAR_M and far_for >= STAYS_FAR_S)
        or away_for >= BESIDE_S
    )
    status = "off_course" if is_off else state.status
    return {"away": away, "away_since": since, "far": far, "status": status}


def _lost_for(usual: float, t: int, certain: Node) -> float:
    """Return the standard deviation of a runner lost since `certain`, in metres."""
    return round(50.0 + 0.5 * usual * max(t - certain.t, 0.0) / 1000, 1)


def _lost_at(t: int, certain: Node, usual: float, cost: float) -> Hypothesis:
    """Return the hypothesis that the runner may be anywhere near the last certain
    place.
    """
    spread = _lost_for(usual, t, certain)
    return Hypothesis(
        certain.distance,
        round(usual / 2, 3),
        round(spread * spread, 1),
        0.0,
        round(usual * usual / 4, 3),
        cost,
        t,
        certain.distance,
        ANYWHERE_AFTER_S,
    )


def _moment(nodes: Sequence[Node], distance: float) -> int:
    for before, node in zip(nodes, nodes[1:], strict=False):
        if node.distance >= distance:
            part = (distance - before.distance) / max(
                node.distance - before.distance, 1e-6
            )
            return round(before.t + min(max(part, 0.0), 1.0) * (node.t - before.t))
    return round(nodes[-1].t)


def _order(fix: Fix) -> tuple[int, float, float]:
    return fix.t, fix.lat, fix.lng
