"""Where on the line a runner may be: a few guesses that each fix moves on."""

from __future__ import annotations

import math

from runners.races.line import Line, Place, Prior, Sight
from runners.races.progress.state import Guess, Here, State

# An error of GPS stays for a while: fixes within so many seconds say one thing.
LASTING = 10.0
# A pace comes back to the runner's average in about so many seconds.
PACE_RETURNS = 60.0
# The most of a surprise that changes the pace.
PACE_GAIN = 0.5
# How much of a speed that the phone measured is believed, a second.
SPEED_TRUST = 0.2
# Who runs slower stands. m/s.
STANDING = 0.5
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


class Search:
    """Finds the places of a line that fit a fix; read-only."""

    def __init__(self, line: Line, start: float, top_speed: float) -> None:
        self._line = line
        self._start = start
        self._top_speed = top_speed

    def first(self, here: Here, sight: Sight, since: int, reach: float) -> list[Guess]:
        """Return where somebody may be of whom nothing is known but the gun."""
        seconds = (here.t - since) / 1000
        mean = self._start + USUAL_PACE * seconds
        variance = (0.5 * USUAL_PACE * seconds) ** 2 + 30.0**2
        prior = Prior(mean, variance, self._start, self._start + reach)
        return self._seeds(here, sight, prior, USUAL_PACE)

    def _average(self, state: State) -> float | None:
        """Return the average pace since the start, m/s, once there is one."""
        if state.started is None or state.certain is None:
            return None
        seconds = (state.certain.t - state.started) / 1000
        if seconds < 60:
            return None
        return (state.certain.distance - self._start) / seconds

    def moved(self, state: State, here: Here, sight: Sight) -> list[Guess]:
        """Move each guess on to where the fix says; without those it refutes."""
        seconds = max((here.t - state.at) / 1000, 0.001)
        slack = 2 * here.slack
        limit = here.limit
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
                speed += trust * (min(here.speed, self._top_speed) - speed)
            mean = guess.distance + speed * seconds
            variance = (
                guess.variance + drift(seconds) + (PACE_UNKNOWN * speed * seconds) ** 2
            )
            prior = Prior(
                mean,
                variance,
                guess.distance - slack - 3.0 * seconds,
                guess.distance + self._top_speed * seconds + slack,
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
                    round(min(max(speed, 0.0), self._top_speed), 3),
                    round((1 - gain) * variance, 2),
                    round(guess.cost + place.cost, 2),
                    guess.since,
                    guess.origin,
                )
            )
        return moved

    def turned(self, guess: Guess, here: Here, sight: Sight) -> list[Guess]:
        """Return where a runner may be who seems to run back.

        Where the line turns back on itself, they may have gone on instead.
        """
        seconds = (here.t - guess.since) / 1000
        if (
            guess.distance >= guess.origin - max(WRONG_WAY, here.slack / 2)
            or seconds > TURNED
            or (here.speed is not None and 0 < here.speed < STANDING)
        ):
            return [guess]
        variance = drift(seconds) + (PACE_UNKNOWN * guess.speed * seconds) ** 2
        slack = 2 * here.slack
        prior = Prior(
            guess.origin + guess.speed * seconds,
            variance + 100.0,
            guess.distance - slack,
            guess.origin + self._top_speed * seconds + slack,
        )
        apart = max(30.0, 3 * math.sqrt(sight.variance))
        return [
            guess._replace(cost=other.cost)
            if abs(other.distance - guess.distance) < apart
            else other
            for other in self._seeds(here, sight, prior, guess.speed)
        ] or [guess]

    def again(
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
        variance = drift(seconds) + (PACE_UNKNOWN * speed * seconds) ** 2 + 100.0
        slack = 50.0 + 2 * here.slack
        low = certain.distance - slack - min(1.5 * seconds, 450.0)
        high = certain.distance + self._top_speed * seconds + slack
        if lost:
            low = self._start
            high = self._start + self._top_speed * (here.t - state.gun) / 1000
        prior = Prior(certain.distance + speed * seconds, variance, low, high)
        return self._seeds(here, sight, prior, speed)

    def _seeds(
        self, here: Here, sight: Sight, prior: Prior, speed: float
    ) -> list[Guess]:
        # Each place is where the line is nearest, whatever the prior; it is weighed
        # after.
        apart = max(30.0, 3 * math.sqrt(sight.variance))
        flat = prior._replace(variance=1e8)
        places = self._line.all(sight, flat, within=here.limit, apart=apart)
        return [_seed(place, here.t, sight, prior, speed) for place in places]


def _seed(place: Place, t: int, sight: Sight, prior: Prior, speed: float) -> Guess:
    # The tails are heavy: people rest, and take the car back to where they left.
    off = (place.distance - prior.mean) ** 2 / (prior.variance + sight.variance)
    distance = round(place.distance, 2)
    cost = place.cost + 8 * math.log1p(off / 8)
    return Guess(
        distance, round(speed, 3), round(sight.variance, 2), round(cost, 2), t, distance
    )


def pruned(guesses: list[Guess]) -> list[Guess]:
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


def drift(seconds: float) -> float:
    """Return the variance of a distance after a time at a pace that wanders."""
    memory = PACE_MEMORY
    lasting = seconds - memory * (1 - math.exp(-seconds / memory))
    return 2 * PACE_WANDER**2 * memory * lasting + 0.01
