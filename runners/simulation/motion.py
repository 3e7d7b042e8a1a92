"""The motion of a simulated runner, and the fixes of their phone."""

from __future__ import annotations

import math
from random import Random

from runners.positions.fix import Fix
from runners.races.course import Course
from runners.units.earth import METRES_PER_DEGREE

# If start and finish are closer than this, the course is a loop.
LOOP_GAP_M = 100.0
# The speeds of a recreational field: 9:00 to 3:15 min/km, most near 5:25.
SLOWEST_M_PER_S = 1.85
USUAL_M_PER_S = 3.1
FASTEST_M_PER_S = 5.1
# How far a straying runner leaves the course, and the time between two detours.
STRAY_M = 140.0
STRAY_EVERY_S = 300.0
# The battery use of GPS and radio.
BATTERY_PERCENT_PER_HOUR = 12.0


class Wander:
    """An Ornstein-Uhlenbeck process around zero.

    `spread` is its standard deviation, `memory` the seconds after which about a third
    of a deviation is left.
    """

    def __init__(self, spread: float, memory: float, random: Random) -> None:
        self.spread, self._memory, self._random = spread, memory, random
        self.value = random.gauss(0, spread)

    def step(self, seconds: float) -> float:
        kept = math.exp(-seconds / self._memory)
        fresh = self.spread * math.sqrt(1 - kept * kept)
        self.value = self.value * kept + self._random.gauss(0, fresh)
        return self.value


class Motion:
    """A runner on a course, at a pace of their own.

    On a loop the laps follow each other. Elsewhere the runner turns at either end.
    `factor` multiplies their speed. `wait` is the time that they stand at the start
    first, in seconds. A standing runner does not move at all, and a straying one leaves
    the course from time to time.
    """

    def __init__(
        self,
        course: Course,
        *,
        distance: float,
        laps: int = 0,
        factor: float = 1,
        pace: float | None = None,
        wait: float = 0,
        stands: bool = False,
        strays: bool = False,
        random: Random,
    ) -> None:
        """Start at metres from the line; `laps` 0 has no end, `pace` in m/s."""
        self.distance = distance
        self._wait = math.inf if stands else wait
        self._strays, self._elapsed = strays, 0.0
        self._course, self._factor, self._random = course, factor, random
        self._end = laps * course.length if laps else math.inf
        pace = random.gauss(USUAL_M_PER_S, 0.5) if pace is None else pace
        self._usual = min(max(pace, SLOWEST_M_PER_S), FASTEST_M_PER_S)
        self._form = Wander(0.07, 180, random)
        # GPS errors persist: a phone beside the path stays beside it for some time.
        self._east = Wander(2.5, 25, random)
        self._north = Wander(2.5, 25, random)
        self._battery = random.uniform(55, 100)
        (start_lat, start_lng), (end_lat, end_lng) = (
            course.point_at(0),
            course.point_at(course.length),
        )
        shrink = math.cos(math.radians(start_lat))
        gap = METRES_PER_DEGREE * math.hypot(
            end_lat - start_lat, (end_lng - start_lng) * shrink
        )
        self._is_loop = gap < LOOP_GAP_M

    @property
    def finished(self) -> bool:
        return self.distance >= self._end

    def step(self, seconds: float, *, t: int) -> Fix:
        """Move for some seconds and return the phone's fix, with `t` in ms."""
        form = math.exp(self._form.step(seconds * self._factor))
        running = max(0.0, seconds - self._wait)
        self._wait = max(0.0, self._wait - seconds)
        self._elapsed += running
        speed = self._usual * form * self._factor if running else 0.0
        self.distance = min(self.distance + speed * running, self._end)
        self._battery = max(
            1.0, self._battery - BATTERY_PERCENT_PER_HOUR * seconds / 3600
        )
        lat, lng = self._place(self.distance)
        east, north = self._east.step(seconds), self._north.step(seconds)
        if self._strays:
            # A detour leads to the right of the course, by the positive part of a sine
            # of the time.
            aside = STRAY_M * max(
                0.0, math.sin(math.tau * self._elapsed / STRAY_EVERY_S)
            )
            right = math.radians(self._bearing() + 90)
            east, north = (
                east + aside * math.sin(right),
                north + aside * math.cos(right),
            )
        metres_a_degree_lng = METRES_PER_DEGREE * math.cos(math.radians(lat))
        random = self._random
        return Fix(
            t=t,
            lat=round(lat + north / METRES_PER_DEGREE, 7),
            lng=round(lng + east / metres_a_degree_lng, 7),
            accuracy=round(min(max(random.gauss(6, 2), 3), 15), 1),
            speed=round(max(0.0, speed + random.gauss(0, 0.1)), 2),
            heading=round(self._heading(), 1),
            battery=round(self._battery, 1),
        )

    def _place(self, distance: float) -> tuple[float, float]:
        lap, along = divmod(distance, self._course.length)
        if not self._is_loop and lap % 2:
            along = self._course.length - along
        return self._course.point_at(along)

    def _heading(self) -> float:
        return (self._bearing() + self._random.gauss(0, 4)) % 360

    def _bearing(self) -> float:
        lat, lng = self._place(self.distance)
        ahead_lat, ahead_lng = self._place(self.distance + 3)
        east = (ahead_lng - lng) * math.cos(math.radians(lat))
        return math.degrees(math.atan2(east, ahead_lat - lat))
