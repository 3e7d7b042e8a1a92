"""Detects runners who are driven: they are faster than anybody can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from runners.races.progress.lost import lost_at
from runners.races.progress.motion import Pace, top_average, usual_pace
from runners.races.progress.state import Here, Hypothesis, State, Trail, metres_between
from runners.races.splits import Node

# Speeds are measured between this many places, at least TRAIL_S apart.
TRAIL_S = 120.0
TRAIL_LENGTH = 5
# A fast fix is confirmed by a fix that is faster than the runner's own average by this
# share of what is possible.
CONFIRMING_SHARE = 0.5
# A runner within this distance of a fast fix is still there.
STILL_THERE_M = 100.0
# A ride is longer than RIDE_M, and by RIDE_SLACK_M longer than anybody can run.
RIDE_M = 400.0
RIDE_SLACK_M = 150.0
# A fast fix is also confirmed by an arrival at the finish that is faster than the
# runner's own average by this share. The same holds for a slow phone's fix before it
# that did not match the course: cars take other roads, or are too far along it.
ARRIVING_SHARE = 1.08
# Over longer silences the distance along the course is measured too.
SILENT_RIDE_S = 240.0
# While fixes follow the course at least this often, a pace up to this share of that of
# an unknown runner (5 m/s) is a run, even after a walk.
FOLLOWED_S = 240.0
FOLLOWED_SHARE = 1.8
# After a ride a runner counts again near the place where they left, or after a run of
# this length.
RETURN_M = 300.0
RUN_AGAIN_M = 300.0


def note_speed(
    state: State,
    here: Here,
    distance: float | None,
    certain: Node,
    pace: Pace,
    top_speed: float,
    sure: bool,
) -> None:
    """Record whether the runner was faster than anybody can run, for two fixes.

    `distance` is the one along the course, None beside it. Later speeds are measured
    from this fix if it is `sure`: from a false one, a runner seems to be driven.
    """
    trail, fast = state.trail, state.fast
    if trail and not fast and here.t - trail[-1].t < TRAIL_S * 1000:
        return
    now = Trail(here.t, here.lat, here.lng, distance)
    # Standing still is no run: the time counts from the first fix at this place.
    known = [old for old in (fast, state.elsewhere) if old and _is_near(old, here)]
    there = now._replace(t=min((old.t for old in known), default=here.t))
    share = CONFIRMING_SHARE if fast else 1.0
    followed = distance is not None and _are_followed((*trail, now))
    least = FOLLOWED_SHARE * usual_pace(top_speed) if followed else 0.0

    def most(seconds: float) -> float:
        return max(top_average(pace, seconds, top_speed, share), least)

    before = next((old for old in trail if _is_ride(old, there, most)), None)
    if before is None:
        state.fast = None
        # A single place beside the course may be false.
        if sure and (distance is not None or state.status == "off_course"):
            state.trail = (*trail[1 - TRAIL_LENGTH :], now)
        return
    if state.rode or not fast:
        state.fast = now
        return
    if before.distance is not None and before.distance < certain.distance:
        certain = Node(before.t, before.distance)
    state.rode, state.fast, state.certain = True, None, certain
    state.trail, state.stands = (now,), None
    state.hypotheses = (lost_at(here.t, certain, pace.usual, 0.0),)


def note_arrival(state: State, best: Hypothesis, certain: Node, usual: float) -> None:
    """Record whether a runner at the finish, whose fix before was fast or did not match
    the course, was driven.
    """
    ran, seconds = best.distance - certain.distance, (state.t - certain.t) / 1000
    if not best.misfits and ran > max(RIDE_M, ARRIVING_SHARE * usual * seconds):
        state.rode = True


def _are_followed(trail: Sequence[Trail]) -> bool:
    return all(
        old.distance is not None and new.t - old.t <= FOLLOWED_S * 1000
        for old, new in pairwise(trail)
    )


def _is_near(one: Trail | Here, other: Here) -> bool:
    return metres_between(one.lat, one.lng, other.lat, other.lng) <= STILL_THERE_M


def _is_ride(before: Trail, now: Trail, most: Callable[[float], float]) -> bool:
    seconds = (now.t - before.t) / 1000
    metres = metres_between(before.lat, before.lng, now.lat, now.lng)
    if (
        seconds > SILENT_RIDE_S
        and before.distance is not None
        and now.distance is not None
    ):
        metres = max(metres, now.distance - before.distance)
    return seconds > 0 and metres > max(RIDE_M, most(seconds) * seconds + RIDE_SLACK_M)


def runs_again(
    state: State, best: Hypothesis, certain: Node, usual: float, finish: float
) -> bool:
    """Return whether a runner who was driven runs on the course again.

    Those who stand near the finish look like runners who have run there slowly.
    """
    if abs(best.distance - certain.distance) <= RETURN_M:
        return True
    seconds = max((state.t - best.since) / 1000, 1.0)
    ran = best.distance - best.origin
    since = (state.t - certain.t) / 1000
    return (
        ran >= RUN_AGAIN_M
        and best.distance < finish - RUN_AGAIN_M
        and 0.5 * usual <= ran / seconds <= 1.3 * usual
        and best.distance - certain.distance <= 1.3 * usual * since
    )
