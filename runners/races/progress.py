"""How far along its course a runner is, fix by fix.

    guide = Guide(course, marks, top_speed=race.top_speed)
    state = guide.begin(gun)
    state, seen = guide.advance(state, fix)

The nearest point of the line jumps wherever the line meets itself, so a fix is weighed
against where the runner should be by now: an alpha-beta filter along the line, with a
window as wide as the top speed allows. After a silence all places near the fix compete
until one is left; meanwhile, and off the course, progress stays at the last certain.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from runners.races.course import Course
from runners.races.line import Line, Place, Prior, Sight, sight_of
from runners.races.splits import Mark, Node, Passing, passes_of, passings

__all__ = ["Guide", "Mark", "Passing", "Replay", "Seen", "State"]

# Accuracies, metres: worse than the first is held, worse than the second moves the
# progress but passes no mark while better fixes come.
SHOW, COUNT = 100.0, 30.0
# What an unknown accuracy is taken for.
UNKNOWN = 20.0
# Accuracy is the radius of 68 % of fixes: that many standard deviations of an axis.
SIGMAS = 1.5
# The least standard deviation, of the phone and of the drawn line. Metres.
LEAST_SIGMA = 3.0
# An error of GPS stays for a while: fixes within so many seconds say one thing.
LASTING = 10.0
# A pace comes back to the runner's average in about so many seconds.
PACE_RETURNS = 60.0
# The most of a surprise that changes the pace.
PACE_GAIN = 0.5
# How much of a speed that the phone measured is believed, a second.
SPEED_TRUST = 0.2
# Silence, in seconds: after it everything is searched; after it a coarse fix counts.
SILENCE, PATIENCE = 60.0, 30.0
# Beyond so many times the accuracy, and these metres, a fix is off the course; after
# so many such fixes and seconds the runner is.
OFF_TIMES, OFF_LEAST, OFF_MOST = 4.0, 50.0, 150.0
OFF_FIXES, OFF_SECONDS = 3, 10.0
# How a pace wanders: metres a second, for seconds, and the share of it unknown.
PACE_WANDER, PACE_MEMORY, PACE_UNKNOWN = 2.0, 10.0, 0.25
USUAL_PACE = 2.8
# A place that fits worse than the best by more than this square of deviations is out.
CLEARLY = 9.0
# The likeliest of several is taken after it went on for so many metres. A guess that
# went back by so many is out, if there is another one.
DECIDE_METRES, WRONG_WAY = 150.0, 25.0
# For so many seconds a runner who seems to run back may have gone on round a bend.
TURNED = 60.0
# Metres from the start line within which a runner waits for the start, and for how
# long before the gun (ms).
START_AREA, WAITING = 500.0, 2 * 3600 * 1000
# Metres run along the course that make a start: from the line, and where no start was
# seen; and in at most how many seconds, for some live or wait beside it.
START_RUN, LATE_RUN, LINGERS = 30.0, 200.0, 300.0
# Metres from the finish at which somebody who stands has finished, and m/s of standing.
FINISH_REACH, STANDING = 15.0, 0.5
# Whoever appears at the finish after such a silence may have come by bus. Seconds.
FINISH_SILENCE = 900.0


class Fix(Protocol):
    """What is read of a fix: ms, degrees, metres, m/s; None is unknown."""

    @property
    def t(self) -> int: ...
    @property
    def lat(self) -> float: ...
    @property
    def lng(self) -> float: ...
    @property
    def accuracy(self) -> float | None: ...
    @property
    def speed(self) -> float | None: ...
    @property
    def heading(self) -> float | None: ...


class Here(NamedTuple):
    """Where a phone said it was."""

    t: int
    lat: float
    lng: float
    accuracy: float | None
    speed: float | None = None
    heading: float | None = None


class Guess(NamedTuple):
    """A place where the runner may be; `since` (ms) and `origin` are its first.

    Distance and origin in metres, speed in m/s, the variance in square metres.
    """

    distance: float
    speed: float
    variance: float
    cost: float
    since: int
    origin: float


class Confirmed(NamedTuple):
    """A fix that was held and now counts."""

    t: int
    lat: float
    lng: float
    progress: float | None


class State(NamedTuple):
    """All that is known of a runner in a race; immutable, and small as JSON.

    `status` is registered, started, off_course or finished; that somebody paused is
    known to those who share, not to their fixes.
    """

    gun: int
    status: str = "registered"
    # The newest fix.
    t: int = 0
    # The last one that is plausible, and one that is not yet.
    shown: Here | None = None
    held: Here | None = None
    # Where the runner may be, as of `at`.
    at: int = 0
    guesses: tuple[Guess, ...] = ()
    # The last certain progress, and before the start: metres to the start, negative.
    certain: Node | None = None
    waiting: Node | None = None
    # The next pass of a mark.
    next: int = 0
    # Fixes in a row off the course, and since when.
    away: int = 0
    away_since: int = 0
    started: int | None = None
    finished: int | None = None

    @property
    def progress(self) -> float | None:
        """Return the last certain progress, metres; None before the start."""
        return None if self.certain is None else self.certain.distance

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes: only what differs from the beginning."""
        return {
            # orjson takes no named tuples.
            key: _plain(value) if isinstance(value, tuple) else value
            for key, value, usual in zip(_KEYS, self, _BEGINNING, strict=True)
            if value != usual
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> State:
        """Read a state that `as_json` wrote."""
        values = {name: data[key] for key, name in _NAMES.items() if key in data}
        for name, kind in (("shown", Here), ("held", Here)):
            if values.get(name) is not None:
                values[name] = kind(*values[name])
        for name in ("certain", "waiting"):
            if values.get(name) is not None:
                values[name] = Node(*values[name])
        values["guesses"] = tuple(Guess(*guess) for guess in values.get("guesses", ()))
        return cls(**values)


_KEYS = ("g", "s", "t", "l", "h", "a", "y", "c", "w", "n", "o", "os", "st", "fi")
_NAMES = dict(zip(_KEYS, State._fields, strict=True))
_BEGINNING = State(gun=-1)


class Seen(NamedTuple):
    """What one fix showed."""

    progress: float | None
    held: bool = False
    confirmed: tuple[Confirmed, ...] = ()
    splits: tuple[Passing, ...] = ()


@dataclass(frozen=True, slots=True)
class Replay:
    """What all fixes of a runner show; progress and held in the order of time."""

    state: State
    splits: list[Passing]
    progress: list[float | None]
    held: list[bool]


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
        self._start_place = self._line.flat(*course.point_at(self.start))

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
            return self._wait(state, here), Seen(None)
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
        progress: list[float | None] = []
        held: list[bool] = []
        index: dict[int, int] = {}
        for fix in sorted(fixes, key=_order):
            state, seen = self.advance(state, fix)
            index[fix.t] = len(progress)
            progress.append(seen.progress)
            held.append(seen.held)
            splits += seen.splits
            for confirmed in seen.confirmed:
                progress[index[confirmed.t]] = confirmed.progress
                held[index[confirmed.t]] = False
        return Replay(state, splits, progress, held)

    def _reached(self, one: Here, other: Here) -> bool:
        """Return whether a runner can have come from one place to the other."""
        seconds = (other.t - one.t) / 1000
        reach = self.top_speed * seconds + _slack(one) + _slack(other)
        north = (other.lat - one.lat) * 111_195.0
        if abs(north) > reach:
            return False
        east = (other.lng - one.lng + 180) % 360 - 180
        east *= 111_195.0 * math.cos(math.radians(one.lat))
        return east * east + north * north <= reach * reach

    def _follow(self, state: State, here: Here, *, lost: bool) -> tuple[State, Seen]:
        x, y = self._line.flat(here.lat, here.lng)
        sigma = _sigma(here.accuracy)
        sight = sight_of(x, y, sigma, speed=here.speed, heading=here.heading)
        if state.status == "registered":
            return self._await_start(state, here, sight)
        return self._run(state, here, sight, lost=lost)

    # Before the start

    def _wait(self, state: State, here: Here) -> State:
        """Note how far from the start somebody waits before the gun."""
        x, y = self._line.flat(here.lat, here.lng)
        gap = math.hypot(x - self._start_place[0], y - self._start_place[1])
        return state if gap > START_AREA else self._waits(state, here, gap)

    def _waits(self, state: State, here: Here, gap: float) -> State:
        return state._replace(guesses=(), waiting=Node(here.t, -round(gap, 2)))

    def _await_start(
        self, state: State, here: Here, sight: Sight
    ) -> tuple[State, Seen]:
        line, start = self._line, self.start
        gap = math.hypot(sight.x - self._start_place[0], sight.y - self._start_place[1])
        if not state.guesses and gap <= START_AREA:
            flat = Prior(start, 1e8, start, start + gap + 1)
            nearest = line.best(sight._replace(east=0.0, north=0.0), flat)
            if nearest.distance - start < 1:
                return self._waits(state, here, gap), Seen(None)
        waiting = state.waiting
        if waiting is not None and waiting.t < state.gun - WAITING:
            waiting = None
        since = state.gun if waiting is None else round(max(waiting.t, state.gun))
        reach = self.top_speed * (here.t - since) / 1000 + 2 * _slack(here)
        guesses = [
            guess
            for guess in self._local(state, here, sight)
            if here.t - guess.since <= LINGERS * 1000
            and guess.distance > guess.origin - 2 * WRONG_WAY
        ]
        if not guesses:
            guesses = self._first(here, sight, since, reach)
        guesses = _pruned(guesses)
        state = state._replace(at=here.t, guesses=tuple(guesses))
        if not guesses:
            return state, Seen(None)
        best = guesses[0]
        if best.distance <= start + 0.5 and gap <= START_AREA:
            return self._waits(state, here, gap), Seen(None)
        near = _slack(here) + 2 * USUAL_PACE * (here.t - since) / 1000
        ran_from, least = best.origin, LATE_RUN
        if waiting is not None and best.origin - start <= near:
            least = max(START_RUN, _slack(here))
            # Before the gun nothing tells who waits behind the line from who lives
            # beside it.
            if waiting.t >= state.gun:
                ran_from = start
        if best.distance - ran_from < least:
            return state, Seen(None)
        return self._started(state, here, best, waiting)

    def _first(self, here: Here, sight: Sight, since: int, reach: float) -> list[Guess]:
        """Return where somebody may be of whom nothing is known but the gun."""
        seconds = (here.t - since) / 1000
        mean = self.start + USUAL_PACE * seconds
        variance = (0.5 * USUAL_PACE * seconds) ** 2 + 30.0**2
        prior = Prior(mean, variance, self.start, self.start + reach)
        return self._seeds(here, sight, prior, USUAL_PACE)

    def _started(
        self, state: State, here: Here, best: Guess, waiting: Node | None
    ) -> tuple[State, Seen]:
        now = Node(here.t, min(best.distance, self.finish))
        origin = Node(best.since, best.origin)
        if waiting is None:
            # Nobody saw the start, or what came after: no times for them.
            passed = bisect_right(self.passes, (best.origin,))
            splits, following = passings(self.passes, passed, (origin, now))
            started = None
        else:
            since = max(waiting.t, state.gun)
            behind, ahead = -waiting.distance, max(best.origin - self.start, 0.1)
            at = since + (best.since - since) * behind / (behind + ahead)
            # Those who wait at the line seem to cross it and come back: what counts
            # is when they ran away from it.
            ran = (best.distance - self.start) / max(best.speed, 1.0)
            at = max(at, here.t - 1000 * ran)
            line = Node(at, self.start)
            splits, following = passings(self.passes, 0, (line, origin, now))
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

    # Under way

    def _run(
        self, state: State, here: Here, sight: Sight, *, lost: bool
    ) -> tuple[State, Seen]:
        guesses: list[Guess] = []
        if state.guesses and not lost and here.t - state.at <= SILENCE * 1000:
            guesses = self._local(state, here, sight)
            if (
                len(guesses) == 1
                and guesses[0].distance < guesses[0].origin - WRONG_WAY
            ):
                guesses = self._turned(guesses[0], here, sight)
        else:
            guesses = self._again(state, here, sight, lost=lost)
        if not guesses:
            return self._away(state, here)
        guesses = _pruned(guesses)
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
            return state, Seen(min(best.distance, self.finish))
        if (
            best.origin >= self.finish - OFF_LEAST
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
        short = FINISH_REACH
        if best.speed > STANDING:
            short = min(short, math.sqrt(best.variance))
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
        return state, Seen(progress, splits=splits)

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

    def _average(self, state: State) -> float | None:
        """Return the average pace since the start, m/s, once there is one."""
        if state.started is None or state.certain is None:
            return None
        seconds = (state.certain.t - state.started) / 1000
        if seconds < 60:
            return None
        return (state.certain.distance - self.start) / seconds

    def _local(self, state: State, here: Here, sight: Sight) -> list[Guess]:
        """Move each guess on to where the fix says; without those it refutes."""
        seconds = max((here.t - state.at) / 1000, 0.001)
        slack = 2 * _slack(here)
        limit = _limit(here.accuracy)
        drift = _drift(seconds)
        noise = sight.variance * max(1.0, LASTING / seconds)
        sight = sight._replace(variance=noise)
        average = self._average(state)
        back = math.exp(-seconds / PACE_RETURNS)
        moved = []
        for guess in state.guesses:
            speed = guess.speed
            if average is not None:
                speed = average + (speed - average) * back
            # Some apps send 0 for what they do not know.
            if here.speed:
                trust = min(SPEED_TRUST * seconds, 0.5)
                speed += trust * (min(here.speed, self.top_speed) - speed)
            mean = guess.distance + speed * seconds
            variance = guess.variance + drift + (PACE_UNKNOWN * speed * seconds) ** 2
            prior = Prior(
                mean,
                variance,
                guess.distance - slack - 3.0 * seconds,
                guess.distance + self.top_speed * seconds + slack,
            )
            place = self._line.best(sight, prior)
            if place.beside > limit:
                continue
            gain = variance / (variance + noise)
            rate = min(2 * gain / (2 - gain), PACE_GAIN)
            rate *= min(seconds, 1.0) / max(seconds, 1.0)
            speed += rate * (place.distance - mean)
            moved.append(
                Guess(
                    round(place.distance, 2),
                    round(min(max(speed, 0.0), self.top_speed), 3),
                    round((1 - gain) * variance, 2),
                    round(guess.cost + place.cost, 2),
                    guess.since,
                    guess.origin,
                )
            )
        return moved

    def _turned(self, guess: Guess, here: Here, sight: Sight) -> list[Guess]:
        """Return where a runner may be who seems to run back.

        Where the line turns back on itself, they may have gone on instead.
        """
        seconds = (here.t - guess.since) / 1000
        if (
            guess.distance >= guess.origin - max(WRONG_WAY, _slack(here) / 2)
            or seconds > TURNED
            or (here.speed is not None and 0 < here.speed < STANDING)
        ):
            return [guess]
        variance = _drift(seconds) + (PACE_UNKNOWN * guess.speed * seconds) ** 2
        slack = 2 * _slack(here)
        prior = Prior(
            guess.origin + guess.speed * seconds,
            variance + 100.0,
            guess.distance - slack,
            guess.origin + self.top_speed * seconds + slack,
        )
        apart = max(30.0, 3 * math.sqrt(sight.variance))
        return [
            guess._replace(cost=other.cost)
            if abs(other.distance - guess.distance) < apart
            else other
            for other in self._seeds(here, sight, prior, guess.speed)
        ] or [guess]

    def _again(
        self, state: State, here: Here, sight: Sight, *, lost: bool
    ) -> list[Guess]:
        """Return where a runner may be after a silence, or off the course."""
        certain = state.certain
        assert certain is not None
        seconds = max((here.t - certain.t) / 1000, 0.001)
        speed = state.guesses[0].speed if state.guesses else USUAL_PACE
        average = self._average(state)
        if average is not None:
            speed = (speed + 3 * average) / 4
        variance = _drift(seconds) + (PACE_UNKNOWN * speed * seconds) ** 2 + 100.0
        slack = 50.0 + 2 * _slack(here)
        low = certain.distance - slack - min(1.5 * seconds, 450.0)
        high = certain.distance + self.top_speed * seconds + slack
        if lost:
            low = self.start
            high = self.start + self.top_speed * (here.t - state.gun) / 1000
        prior = Prior(certain.distance + speed * seconds, variance, low, high)
        return self._seeds(here, sight, prior, speed)

    def _seeds(
        self, here: Here, sight: Sight, prior: Prior, speed: float
    ) -> list[Guess]:
        # Each place is where the line is nearest, whatever the prior; it is weighed
        # after.
        apart = max(30.0, 3 * math.sqrt(sight.variance))
        flat = prior._replace(variance=1e8)
        places = self._line.all(sight, flat, within=_limit(here.accuracy), apart=apart)
        return [_seed(place, here.t, sight, prior, speed) for place in places]


def _seed(place: Place, t: int, sight: Sight, prior: Prior, speed: float) -> Guess:
    # The tails are heavy: people rest, and take the car back to where they left.
    off = (place.distance - prior.mean) ** 2 / (prior.variance + sight.variance)
    distance = round(place.distance, 2)
    cost = place.cost + 8 * math.log1p(off / 8)
    return Guess(
        distance, round(speed, 3), round(sight.variance, 2), round(cost, 2), t, distance
    )


def _pruned(guesses: list[Guess]) -> list[Guess]:
    """Drop the guesses that others make unlikely; the best first."""
    if len(guesses) < 2:
        return guesses
    guesses = sorted(guesses, key=lambda guess: (guess.cost, guess.distance))
    left: list[Guess] = []
    for guess in guesses[:8]:
        if guess.cost <= guesses[0].cost + CLEARLY and all(
            abs(guess.distance - other.distance) > 20 for other in left
        ):
            left.append(guess)
    left = [g for g in left if g.distance > g.origin - WRONG_WAY] or left
    best = left[0]
    if best.distance - best.origin > DECIDE_METRES:
        left = left[:1]
    return left[:4]


def _moment(nodes: Sequence[Node], distance: float) -> int:
    for before, node in zip(nodes, nodes[1:], strict=False):
        if node.distance >= distance:
            part = (distance - before.distance) / (node.distance - before.distance)
            return round(before.t + max(part, 0.0) * (node.t - before.t))
    return round(nodes[-1].t)


def _plain(value: tuple[Any, ...]) -> list[Any]:
    return [_plain(item) if isinstance(item, tuple) else item for item in value]


def _order(fix: Fix) -> tuple[int, float, float]:
    return fix.t, fix.lat, fix.lng


def _sigma(accuracy: float | None) -> float:
    return max((UNKNOWN if accuracy is None else accuracy) / SIGMAS, LEAST_SIGMA)


def _slack(here: Here) -> float:
    """Return how far off, in metres, a plausible fix may be."""
    return max(25.0, 2 * (UNKNOWN if here.accuracy is None else here.accuracy))


def _limit(accuracy: float | None) -> float:
    far = OFF_TIMES * (UNKNOWN if accuracy is None else accuracy)
    return min(max(far, OFF_LEAST), OFF_MOST)


def _drift(seconds: float) -> float:
    """Return the variance of a distance after a time at a pace that wanders."""
    memory = PACE_MEMORY
    lasting = seconds - memory * (1 - math.exp(-seconds / memory))
    return 2 * PACE_WANDER**2 * memory * lasting + 0.01
