"""Follows a runner from the start to the finish."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from runners.races.course import Course
from runners.races.progress.finish import (
    FINISH_REACH_M,
    STANDING_MPS,
    has_stood,
    note_standing,
    prefer_finish,
    widened,
)
from runners.races.progress.lost import ANYWHERE_AFTER_S, lost_at, lost_for
from runners.races.progress.mixture import (
    CUT_M,
    CUT_S,
    SILENCE_S,
    Mixture,
    deviation,
    share_of_best,
)
from runners.races.progress.motion import (
    DOUBT_SIGMAS,
    LONG_S,
    Pace,
    average_pace,
    is_fast,
    top_average,
)
from runners.races.progress.observation import (
    MAX_OFF_COURSE_M,
    Observation,
    average_noise,
)
from runners.races.progress.off_course import note_beside
from runners.races.progress.rides import (
    RETURN_M,
    RUN_AGAIN_M,
    note_arrival,
    note_speed,
    runs_again,
)
from runners.races.progress.start import SHORT_LAP_M
from runners.races.progress.state import (
    ACCURACY_SIGMAS,
    Here,
    Hypothesis,
    Seen,
    State,
    metres_between,
    rounded,
)
from runners.races.splits import Node, Pass, passings

# Worse fixes move the progress, but pass no mark while better ones arrive.
MAX_COUNTED_SIGMA_M = 30.0 / ACCURACY_SIGMAS
# Without a good fix for this time, a coarse one counts.
COARSE_COUNTS_AFTER_S = 30.0
# A place counts if this share of the likelihood is around it.
SURE_SHARE = 0.9
# After this time the best of several places counts. Later evidence may correct it.
UNDECIDED_S = 100.0
# Runners lost by map matching are at the finish within this distance of it. Runners who
# come to it faster than they can run were driven.
FINISH_AREA_M = 150.0
# Runners who were due at the finish LEAVES_S ago, and later by a share of the time to
# it, have finished if they are beside the course or back on it and have walked there.
LEAVES_S = 25.0
LATE_SHARE = 0.2
WALKING_MPS = 1.5
# Runners who appear at the finish after this time without a fix may have come by bus.
# They have run there if they were not much slower than before: at this share of their
# pace. The last 12 km of a marathon are below 0.75 for one runner in 19, below 0.67 for
# one in 70, and the wait for the first fix after the finish counts as running.
UNSEEN_S = 3_600.0
UNSEEN_PACE_SHARE = 0.67
# Runners whose first fix after a silence of DEAD_ZONE_S does not match are lost from
# where they were expected, which is as uncertain as this share of that time.
DEAD_ZONE_S = 900.0
UNSURE_SHARE = 0.4
# The places of somebody who stands are this near to each other.
STAYS_M = 50.0
# A place farther back than this is not noise: checkpoints are passed again.
CORRECTED_M = 150.0


class Running:
    """Follows runners who have started. Read-only."""

    def __init__(
        self,
        course: Course,
        mixture: Mixture,
        passes: Sequence[Pass],
        *,
        start: float,
        finish: float,
        top_speed: float,
    ) -> None:
        self._mixture = mixture
        self._passes = passes
        self._start, self._finish = start, finish
        self._top_speed = top_speed
        self._finish_place = course.point_at(finish)
        ends = course.passes(*self._finish_place, within=STAYS_M)
        self._ends_short_lap = any(
            2 * STAYS_M < finish - end <= SHORT_LAP_M for end in ends
        )

    def step(self, state: State, now: Observation) -> Seen:
        """Change the state by a fix and return the progress that it shows."""
        certain = _certain(state)
        seconds = max((now.t - state.at) / 1000, 0.001)
        pace = self._pace(state, certain)
        usual = pace.usual
        hypotheses, beside = self._mixture.step(
            self._parents(state, certain, usual),
            now,
            seconds,
            pace,
            (self._start, self._farthest(state, now, certain, pace)),
        )
        _note_stay(state, now.here, certain)
        hypotheses = prefer_finish(hypotheses, now, state, self._finish)
        note_beside(state, now, beside, usual)
        state.at, state.hypotheses = now.t, tuple(hypotheses)
        best = hypotheses[0]
        was_lost = now.t - 1000 * seconds - certain.t > ANYWHERE_AFTER_S * 1000
        crosses = (state.status == "off_course" or was_lost) and _crosses(best, certain)
        along = None if best.misfits or crosses else best.distance
        sure = len(hypotheses) == 1 or self._is_sure(hypotheses)
        if best.distance > self._finish - FINISH_AREA_M and (
            state.fast or _was_elsewhere(state, now.here, seconds, certain)
        ):
            note_arrival(state, best, certain, usual)
        note_speed(state, now.here, along, certain, pace, self._top_speed, sure)
        best, certain = state.hypotheses[0], _certain(state)
        if best.misfits and seconds > DEAD_ZONE_S:
            ran = min(certain.distance + usual * seconds, self._finish)
            since = now.t - round(UNSURE_SHARE * seconds * 1000)
            state.expected = Node(since, rounded(ran, 10))
        self._note_elsewhere(state, now.here, best)
        # Not for a phone that sends often, which shows the crossing, nor for a runner
        # who was beside the course before they were due, and has dropped out.
        if (
            seconds >= LEAVES_S
            and certain.t >= now.t - round(1000 * seconds)
            and self._has_left(state, now, best, certain, usual)
        ):
            over = best._replace(distance=self._finish + 1.0)
            if not self._was_driven(state, over, certain):
                return self._count(state, now, over, certain, usual, left=True)
        if (
            best.misfits
            or crosses
            or (
                state.rode and not runs_again(state, best, certain, usual, self._finish)
            )
        ):
            silent = seconds > SILENCE_S
            return self._lost(state, now, best, certain, usual, silent, beside, crosses)
        if best.speed > STANDING_MPS:
            # Who stands beside the course says nothing of the phone's errors.
            average_noise(state, now.noise, beside, seconds)
        state.unsure = 0 if sure else state.unsure or now.t
        return self._matched(state, now, best, certain, usual)

    def jumped(self, state: State, held: Here) -> None:
        """Record the speed of a jump that a second fix has confirmed."""
        if state.status != "registered" and state.hypotheses:
            certain = _certain(state)
            pace = self._pace(state, certain)
            note_speed(state, held, None, certain, pace, self._top_speed, True)

    def predicted(self, state: State) -> Seen:
        """Return the expected progress at the newest fix, ignoring its position."""
        if state.certain is None or not state.hypotheses:
            return Seen(state.progress)
        best, certain = state.hypotheses[0], state.certain
        seconds = (state.t - state.at) / 1000
        usual = self._pace(state, certain).usual
        if state.status == "off_course" or state.rode:
            since = state.expected or certain
            return Seen(since.distance, lost_for(usual, state.t, since))
        spread = math.hypot(deviation(state.hypotheses), 0.3 * usual * seconds)
        progress = best.distance + min(best.speed, usual) * seconds
        return Seen(min(max(progress, 0.0), self._finish), spread)

    def _pace(self, state: State, certain: Node) -> Pace:
        """Return the runner's average pace since the start."""
        first = state.first or certain
        return average_pace(
            certain.distance - first.distance,
            (certain.t - first.t) / 1000,
            self._top_speed,
        )

    def _is_sure(self, hypotheses: Sequence[Hypothesis]) -> bool:
        around = 3 * math.sqrt(hypotheses[0].variance) + 15
        return share_of_best(hypotheses, around, self._finish) >= SURE_SHARE

    def _parents(
        self, state: State, certain: Node, usual: float
    ) -> Sequence[Hypothesis]:
        """Return the hypotheses to continue from. Off the course the runner may be
        anywhere.
        """
        if not state.hypotheses:
            return [lost_at(state.at, certain, usual, 0.0)]
        since = state.expected or certain
        off = state.status == "off_course"
        return [
            lost_at(state.at, since, usual, hypothesis.cost)
            if hypothesis.misfits and (off or hypothesis.misfits >= ANYWHERE_AFTER_S)
            else hypothesis
            for hypothesis in state.hypotheses
        ]

    def _farthest(
        self, state: State, now: Observation, certain: Node, pace: Pace
    ) -> float:
        """Return the farthest distance that the runner may have reached, in metres.

        Waiting at a place that was out of reach does not bring it into reach.
        """
        until, elsewhere = now.t, state.elsewhere
        if (
            elsewhere is not None
            and _is_near(now.here, elsewhere)
            and (now.t - state.at <= LONG_S * 1000 or self._is_at_finish(elsewhere))
        ):
            until = elsewhere.t
        since = max((until - certain.t) / 1000, 1.0)
        reach = top_average(pace, since, self._top_speed) * since
        cut = CUT_M * max(1 - since / CUT_S, 0.1)
        farthest = certain.distance + reach + cut
        if state.unsure:
            # The runner may have been farther than the place that counts.
            seconds = (now.t - state.at) / 1000
            ran = top_average(pace, seconds, self._top_speed) * seconds
            places = [h.distance for h in state.hypotheses if not h.misfits]
            farthest = max(farthest, max(places, default=0.0) + ran)
        return farthest + 2 * now.slack

    def _is_at_finish(self, here: Here) -> bool:
        gap = metres_between(here.lat, here.lng, *self._finish_place)
        return gap <= FINISH_AREA_M

    def _matched(
        self,
        state: State,
        now: Observation,
        best: Hypothesis,
        certain: Node,
        usual: float,
    ) -> Seen:
        """Return the progress of a runner on the course. It counts if it is certain."""
        hypotheses = state.hypotheses
        state.status, state.rode = "started", False
        if self._was_driven(state, best, certain):
            return Seen(certain.distance, lost_for(usual, now.t, certain))
        undecided = state.unsure and now.t - state.unsure < UNDECIDED_S * 1000
        coarse = (
            now.sigma > MAX_COUNTED_SIGMA_M
            and now.t - certain.t <= COARSE_COUNTS_AFTER_S * 1000
        )
        if undecided or coarse or state.fast:
            return self._seen(hypotheses)
        return self._count(state, now, best, certain, usual)

    def _was_driven(self, state: State, best: Hypothesis, certain: Node) -> bool:
        """Return whether a runner who appears at the finish may not have run there."""
        if best.distance <= self._finish - FINISH_AREA_M:
            return False
        pace, ran = self._pace(state, certain), best.distance - certain.distance
        appeared = best.since if best.since > certain.t else state.t
        known = [here.t for here in (state.elsewhere, state.stays) if here]
        arrived = min(known, default=appeared)
        if is_fast(ran, (arrived - certain.t) / 1000, pace, self._top_speed):
            state.elsewhere = state.elsewhere or state.shown
            return True
        since = (arrived - certain.t) / 1000
        return since > UNSEEN_S and ran < UNSEEN_PACE_SHARE * pace.usual * since

    def _has_left(
        self,
        state: State,
        now: Observation,
        best: Hypothesis,
        certain: Node,
        usual: float,
    ) -> bool:
        """Return whether a runner who was due at the finish has gone away from there.

        They are beside the course or go back along it, within walking distance.
        """
        if state.rode or state.fast:
            return False
        rest = 1000 * max(self._finish - certain.distance, 0.0) / usual
        away = (now.t - certain.t - rest) / 1000
        error = 2 * math.sqrt(best.variance) + FINISH_REACH_M
        # On short laps this would be an earlier lap.
        back = not self._ends_short_lap and best.distance < certain.distance - error
        return bool(
            (best.misfits or back)
            and away >= LEAVES_S + LATE_SHARE * rest / 1000
            and metres_between(now.here.lat, now.here.lng, *self._finish_place)
            <= FINISH_AREA_M + WALKING_MPS * away
        )

    def _note_elsewhere(self, state: State, here: Here, best: Hypothesis) -> None:
        """Record where a series of fixes began that do not match the expectation.

        Those who were driven to the finish stand there.
        """
        elsewhere = state.elsewhere
        if elsewhere is None or not _is_near(here, elsewhere):
            state.elsewhere = here if best.misfits else None
        elif not best.misfits and best.distance <= self._finish - FINISH_AREA_M:
            state.elsewhere = None

    def _seen(self, hypotheses: Sequence[Hypothesis]) -> Seen:
        progress = min(max(hypotheses[0].distance, self._start), self._finish)
        return Seen(rounded(progress, 100), rounded(deviation(hypotheses), 100))

    def _count(
        self,
        state: State,
        now: Observation,
        best: Hypothesis,
        certain: Node,
        usual: float,
        *,
        left: bool = False,
    ) -> Seen:
        """Move the certain place and pass the marks before it.

        `left`: the runner has finished and gone away.
        """
        nodes = [certain]
        if certain.t < best.since < now.t:
            nodes.append(Node(best.since, best.origin))
        reached, finish = best.distance, self._finish
        note_standing(state, now.t, best, certain, usual, finish)
        spread = deviation(state.hypotheses if state.unsure else (best,))
        doubt = DOUBT_SIGMAS * spread / max(usual, best.speed)
        stands = state.stands
        if stands is not None and (
            left or has_stood(stands, now, best, certain, finish)
        ):
            # The runner has crossed the line and gone back, or stands a little short of
            # it because of GPS errors.
            reached, doubt = finish + 1, stands.doubt
            nodes = [certain] if left and certain.t < stands.crossed else []
            nodes.append(Node(stands.crossed, reached))
        else:
            nodes.append(Node(now.t, reached))
        if reached < certain.distance - CORRECTED_M:
            state.next = bisect_right(self._passes, (reached,))
        splits, state.next = passings(self._passes, state.next, nodes, doubt)
        if stands is not None and reached >= finish:
            splits = tuple(
                widened(split, stands) if split.distance >= finish else split
                for split in splits
            )
        seen = self._seen(state.hypotheses)
        if splits:
            seen = seen._replace(splits=splits)
        if reached < finish:
            state.certain = Node(now.t, max(reached, self._start))
            state.expected = None
            return seen
        state.certain = Node(now.t, finish)
        state.status, state.finished = "finished", _moment(nodes, finish)
        state.hypotheses = state.trail = ()
        return seen._replace(progress=finish)

    def _lost(
        self,
        state: State,
        now: Observation,
        best: Hypothesis,
        certain: Node,
        usual: float,
        silent: bool,
        beside: float,
        crosses: bool,
    ) -> Seen:
        """Return the progress while fixes do not match the expectation.

        After a `silent` time few of them were wrong, and the runner has gone on. They
        are probably as wrong along the course as `beside` it, in metres.
        """
        if state.rode:
            state.status = "off_course"
        since = state.expected or certain
        lost = lost_for(usual, now.t, since)
        if state.status == "off_course":
            return Seen(since.distance, lost)
        if crosses or best.misfits >= ANYWHERE_AFTER_S:
            run = usual * (now.t - since.t) / 1000 if silent else 0.0
            return Seen(min(since.distance + run, self._finish), lost)
        short = self._finish - best.distance + math.sqrt(best.variance)
        over = best._replace(distance=self._finish + 1.0)
        if (
            short <= 0
            and metres_between(now.here.lat, now.here.lng, *self._finish_place)
            <= FINISH_AREA_M
            and not self._was_driven(state, over, certain)
        ):
            # The runner has left the course behind the finish line.
            return self._count(state, now, over, certain, usual)
        spread = math.hypot(deviation(state.hypotheses), min(beside, MAX_OFF_COURSE_M))
        return self._seen(state.hypotheses)._replace(uncertainty=rounded(spread, 100))


def _certain(state: State) -> Node:
    """Return the last certain progress, which every started runner has."""
    assert state.certain is not None
    return state.certain


def _crosses(best: Hypothesis, certain: Node) -> bool:
    """Return whether a runner who was lost is probably not on an earlier part of the
    course, but crosses it or runs beside it.
    """
    return (
        best.since > certain.t
        and best.distance < certain.distance - RETURN_M
        and best.distance - best.origin < RUN_AGAIN_M
    )


def _note_stay(state: State, here: Here, certain: Node) -> None:
    """Record since when a runner has not left a place that is not certain."""
    stays = state.stays
    # While the lap is not sure, a place that counts is not certain.
    newest = certain.t if state.unsure else certain.t + 1
    if here.t - certain.t <= SILENCE_S * 1000:
        state.stays = None
    elif stays is None or stays.t < newest or not _is_near(here, stays, STAYS_M):
        state.stays = here


def _was_elsewhere(state: State, here: Here, seconds: float, certain: Node) -> bool:
    """Return whether the last fix of a slow phone did not match the course, and the
    runner has moved since.
    """
    elsewhere = state.elsewhere
    return (
        elsewhere is not None
        and elsewhere.t - certain.t > LONG_S * 1000
        and seconds > LONG_S
        and not _is_near(here, elsewhere)
    )


def _is_near(one: Here, other: Here, metres: float = RETURN_M) -> bool:
    return metres_between(one.lat, one.lng, other.lat, other.lng) <= metres


def _moment(nodes: Sequence[Node], distance: float) -> int:
    for before, node in zip(nodes, nodes[1:], strict=False):
        if node.distance >= distance:
            part = (distance - before.distance) / max(
                node.distance - before.distance, 1e-6
            )
            return round(before.t + min(max(part, 0.0), 1.0) * (node.t - before.t))
    return round(nodes[-1].t)
