"""Answers to a crowd that asks when its runners pass a place.

All requests of 150 ms share the reads of what their viewers may see, which
begin after the last of them. A runner's prediction is for the whole course, and shared
by all places and viewers for some seconds.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any

import orjson
from django.db.models import Max
from django.utils import timezone

from runners.database import CoalescedReads
from runners.live.encoding.ids import RunnerIdError, code_of
from runners.models import Entry, LatestPosition, Race, Split
from runners.models.runner import RunnerQuerySet
from runners.races.arrival.eta import (
    Arrival,
    Curve,
    Passed,
    arrivals,
    is_predictable,
    probable_place,
)
from runners.races.course import WGS84, Course
from runners.races.race_data import (
    Ground,
    ground_of,
    results_of,
    rows_of,
    samples_of,
)
from runners.races.standings import Row
from runners.rights.access import visible_runners
from runners.rights.results import seen_in_race_from
from runners.rights.windows import visible_races
from runners.units.clock import now_ms
from runners.units.errors import CodedError

# Runners in one request.
MAX_NAMED = 100
MAX_COMING = 50
# Distances from the course within which a point is accepted, tried in this order. The
# least one distinguishes parallel streets, and the way out from the way back.
REACHES_M = (30.0, 100.0, 300.0)
PLACES_KEPT = 256
# How long a prediction is reused.
AGE_S = 10.0
# Predictions in the cache. One has about 6 kB, and 0.2 kB more per place.
KEPT = 8_192
# Places whose answers a prediction keeps.
ANSWERS_KEPT = 64
# The least time between two reads for requests without an account.
READ_EVERY_S = 0.15
# The named runners of one read. A request with fewer, or without any, counts like one
# of five.
RUNNERS_PER_READ = 500
LEAST_LOAD = 5

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ArrivalsRequest:
    """A request as it was sent, and its viewer."""

    slug: str
    # Metres along the course, or "lat,lng".
    at: str
    # Codes of runners. Without any, those who arrive next are meant.
    runners: tuple[str, ...] = ()
    user: int | None = None
    links: tuple[int, ...] = ()


@dataclass(slots=True)
class Asked:
    """A valid request: the passes of its place in metres, and its runners."""

    passes: tuple[float, ...]
    codes: list[str] = field(default_factory=list)
    # Whether runners were named, by codes that may all be invalid.
    is_named: bool = False
    # Primary keys of those who are shown to the viewer.
    runners: list[int] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)


class Prediction:
    """A runner's arrivals at all places, as of the moment when they were read."""

    def __init__(
        self, row: Row, samples: Sequence[Passed], ground: Ground, now: datetime
    ) -> None:
        assert ground.slopes is not None
        self.read_at = time.monotonic()
        self._row = row
        self._samples = samples
        self._ground = ground
        self._slopes = ground.slopes
        self._now = now
        self._answers: dict[tuple[float, ...], orjson.Fragment] = {}

    def since(self, begin: float) -> Prediction | None:
        """Return the prediction for a viewer who sees no position from before a time.

        None if the last position is one of these.
        """
        row = self._row.since(begin)
        if row.last_fix_at != self._row.last_fix_at:
            return None
        results = set(results_of(row))
        samples = [s for s in self._samples if s.time >= begin or s in results]
        if row is self._row and len(samples) == len(self._samples):
            return self
        return Prediction(row, samples, self._ground, self._now)

    def answer(self, passes: tuple[float, ...]) -> orjson.Fragment:
        """Return the runner's part of an answer, for the passes of a place."""
        answer = self._answers.get(passes)
        if answer is None:
            found = arrivals(passes, self._samples, self._slopes, **self._given)
            body = orjson.dumps(self._about | {"passes": _said(found)})
            if len(self._answers) >= ANSWERS_KEPT:
                self._answers.clear()
            answer = self._answers[passes] = orjson.Fragment(body)
        return answer

    @cached_property
    def _about(self) -> Answer:
        row = self._row
        place = probable_place(self._samples, self._slopes, **self._given)
        return {
            "runner": row.code,
            "name": row.name,
            "bib": row.bib,
            "status": row.status,
            "progress": None if row.distance is None else round(row.distance, 1),
            "seen": _ms(row.last_fix_at),
            "probable": place
            and {
                "progress": round(place.distance, 1),
                "from": round(place.nearest, 1),
                "to": round(place.farthest, 1),
            },
        }

    @cached_property
    def _given(self) -> dict[str, Any]:
        row = self._row
        is_running = row.status == Entry.Status.STARTED
        curve = None
        if is_running and is_predictable(self._samples):
            curve = Curve(self._samples, self._slopes, self._ground.prior)
        return {
            "now": self._now.timestamp(),
            "prior": self._ground.prior,
            "last_fix_at": row.last_fix_at,
            "status": row.status,
            "curve": curve,
        }


class ArrivalReads:
    """The coalesced reads of requests without an account, in one event loop."""

    def __init__(self) -> None:
        self._reads = CoalescedReads(
            read_arrivals, RUNNERS_PER_READ, every_s=READ_EVERY_S, load=_load
        )

    async def answer(self, request: ArrivalsRequest) -> bytes:
        """Return the answer as JSON; raises `CodedError`, `DatabaseUnavailable`."""
        return answer_of(request, await self._reads.read([request]))


def _load(request: ArrivalsRequest) -> int:
    return max(len(request.runners), LEAST_LOAD)


def answer_of(
    request: ArrivalsRequest, found: Mapping[ArrivalsRequest, bytes | CodedError]
) -> bytes:
    """Return the answer to a request, or raise its error."""
    answer = found[request]
    if isinstance(answer, CodedError):
        raise answer
    return answer


# -- in a thread of the database pool


def read_arrivals(
    requests: Sequence[ArrivalsRequest],
) -> dict[ArrivalsRequest, bytes | CodedError]:
    """Return the answers to requests, or their errors.

    Causes four queries for each race and viewer, and five more for runners who have
    no recent prediction.
    """
    viewers: dict[tuple[str, int | None, tuple[int, ...]], list[ArrivalsRequest]]
    viewers = defaultdict(list)
    for request in requests:
        viewers[request.slug, request.user, request.links].append(request)
    found: dict[ArrivalsRequest, bytes | CodedError] = {}
    for (slug, user, links), own in viewers.items():
        try:
            found |= _of_viewer(slug, user, links, own)
        except CodedError as error:
            found |= dict.fromkeys(own, error)
    return found


def _of_viewer(
    slug: str,
    user: int | None,
    links: Collection[int],
    requests: Sequence[ArrivalsRequest],
) -> dict[ArrivalsRequest, bytes | CodedError]:
    race, ground, course = _race(slug, links)
    shown = visible_runners(user, links).filter(
        pk__in=Entry.objects.shown().filter(race=race).values("runner")
    )
    found: dict[ArrivalsRequest, bytes | CodedError] = {}
    asked: dict[ArrivalsRequest, Asked] = {}
    for request in requests:
        try:
            asked[request] = _asked(course, request)
        except CodedError as error:
            found[request] = error
    begins = seen_in_race_from(race, user, links)
    _select(race, shown, asked.values(), begins)
    of_all = _predictions(
        race, ground, {pk for of in asked.values() for pk in of.runners}
    )
    predictions = {
        runner: seen
        for runner, prediction in of_all.items()
        if (
            seen := prediction.since(begins[runner]) if runner in begins else prediction
        )
    }
    for request, of in asked.items():
        found[request] = _encoded(race, course, of, predictions)
    return found


def _race(slug: str, links: Collection[int]) -> tuple[Race, Ground, Course]:
    race = visible_races(links).defer("line").filter(slug=slug).first()
    if race is None:
        raise CodedError(
            "race.unknown", "There is no such race, or it is not shown to you."
        )
    ground = ground_of(race)
    if ground.course is None:
        raise CodedError("race.no_course", "This race has no course yet.")
    return race, ground, ground.course


def _asked(course: Course, request: ArrivalsRequest) -> Asked:
    """Check a request; raises `CodedError`."""
    asked = Asked(_passes(course, request.at))
    if len(request.runners) > MAX_NAMED:
        raise invalid(f"At most {MAX_NAMED} runners in one request.")
    for text in request.runners:
        try:
            asked.codes.append(code_of(text))
        except RunnerIdError:
            asked.refused.append({"code": "runner.invalid", "runner": text[:80]})
    asked.is_named = bool(request.runners)
    return asked


def invalid(detail: str) -> CodedError:
    """Return the error of a request that is not valid."""
    return CodedError("request.invalid", detail)


@lru_cache(maxsize=PLACES_KEPT)
def _passes(course: Course, at: str) -> tuple[float, ...]:
    """Return the metres at which the course passes the point. Raises `CodedError`."""
    try:
        figures = [float(part) for part in at.split(",")]
    except ValueError:
        figures = []
    if not all(map(math.isfinite, figures)) or len(figures) not in (1, 2):
        raise invalid("`at` must be metres along the course, or a position as lat,lng.")
    if len(figures) == 1:
        (own,) = figures
        if not 0 <= own <= course.length + 1:
            raise CodedError(
                "place.off_course",
                f"The course is {course.length / 1000:.1f} km long; `at` is in metres.",
            )
    else:
        own = _nearest(course, *figures)
    # Answers are kept by their place.
    own = min(float(round(own)), course.length)
    there = course.passes(*course.point_at(own), within=REACHES_M[0])
    # The requested distance, and not the other end of the same segment.
    others = [distance for distance in there if abs(distance - own) > 2 * REACHES_M[0]]
    return tuple(sorted([own, *others]))


def _nearest(course: Course, lat: float, lng: float) -> float:
    if not (-90 <= lat <= 90 and -180 <= lng <= 180):
        raise invalid("`at` is not on earth: lat,lng in degrees.")
    for reach in REACHES_M:
        if near := course.passes(lat, lng, within=reach):
            return min(near, key=lambda d: _metres(lat, lng, *course.point_at(d)))
    raise CodedError(
        "place.off_course",
        f"The course does not come within {REACHES_M[-1]:.0f} m of `at`. "
        "Choose a place on the course.",
    )


def _metres(lat: float, lng: float, to_lat: float, to_lng: float) -> float:
    return float(WGS84.inv(lng, lat, to_lng, to_lat)[2])


def _select(
    race: Race,
    shown: RunnerQuerySet,
    asked: Collection[Asked],
    begins: Mapping[int, float],
) -> None:
    """Fill in the runners of each request, of those who are shown to its viewer."""
    codes = {code for of in asked for code in of.codes}
    named = (
        dict(shown.filter(code__in=codes).values_list("code", "pk")) if codes else {}
    )
    seen = None if all(of.is_named for of in asked) else _seen(race, shown, begins)
    for of in asked:
        if seen is not None and not of.is_named:
            of.runners = _coming(seen, of.passes)
        of.runners += [named[code] for code in of.codes if code in named]
        of.refused += [
            {"code": "runner.unknown", "runner": code}
            for code in of.codes
            if code not in named
        ]


def _seen(
    race: Race, shown: RunnerQuerySet, begins: Mapping[int, float]
) -> dict[int, float]:
    """Map the runners in the race to the last place where they were seen.

    Those whose last position is from before the viewer's right are left out.
    """
    started = Entry.objects.filter(race=race, status=Entry.Status.STARTED)
    runners = shown.filter(pk__in=started.values("runner"))
    by_phone = LatestPosition.objects.filter(
        runner__in=runners, recorded_at__lte=race.ends
    ).values_list("runner", "progress", "recorded_at")
    by_mat = (
        Split.objects.filter(entry__race=race, entry__runner__in=runners, by_mat=True)
        .values("entry__runner")
        .annotate(distance=Max("checkpoint__distance"))
        .values_list("entry__runner", "distance")
    )
    seen: dict[int, float] = {}
    unseen = set()
    for runner, progress, at in by_phone:
        if at.timestamp() < begins.get(runner, 0.0):
            unseen.add(runner)
        elif progress is not None:
            seen[runner] = progress
    for runner, distance in by_mat:
        if runner not in unseen:
            seen[runner] = max(seen.get(runner, 0.0), distance or 0.0)
    return seen


def _coming(seen: Mapping[int, float], passes: Sequence[float]) -> list[int]:
    """Return the runners who arrive next."""
    ahead = sorted(
        (min(left), runner)
        for runner, progress in seen.items()
        if (left := [p - progress for p in passes if p > progress])
    )
    return [runner for _, runner in ahead[:MAX_COMING]]


# By race, its last change, and runner; of runners whom some viewer may see.
_kept: dict[tuple[int, object, int], Prediction] = {}
_kept_lock = Lock()


def _predictions(
    race: Race, ground: Ground, runners: Collection[int]
) -> dict[int, Prediction]:
    """Return the predictions of visible runners, at most AGE_S old."""
    oldest = time.monotonic() - AGE_S
    with _kept_lock:
        known = {
            runner: kept
            for runner in runners
            if (kept := _kept.get((race.pk, race.changed_at, runner)))
            and kept.read_at >= oldest
        }
    missing = [runner for runner in runners if runner not in known]
    if not missing:
        return known
    rows = rows_of(race, ground, missing)
    now = timezone.now()
    samples = samples_of(rows, now)
    new = {
        row.runner: Prediction(row, samples[row.runner], ground, now) for row in rows
    }
    with _kept_lock:
        for runner, prediction in new.items():
            key = race.pk, race.changed_at, runner
            # Move it to the end, so that the oldest are discarded first.
            _kept.pop(key, None)
            _kept[key] = prediction
        while len(_kept) > KEPT:
            del _kept[next(iter(_kept))]
    return known | new


def _encoded(
    race: Race, course: Course, asked: Asked, predictions: Mapping[int, Prediction]
) -> bytes:
    lat, lng = course.point_at(asked.passes[0])
    return orjson.dumps(
        {
            "race": race.slug,
            "time": now_ms(),
            "place": {
                "lat": round(lat, 6),
                "lng": round(lng, 6),
                "passes": [round(distance, 1) for distance in asked.passes],
            },
            "runners": [
                predictions[runner].answer(asked.passes)
                for runner in asked.runners
                if runner in predictions
            ],
            "refused": asked.refused,
        }
    )


def _said(found: Iterable[Arrival]) -> list[Answer]:
    return [
        {
            "pass": arrival.pass_number,
            "distance": round(arrival.distance, 1),
            "status": arrival.status,
            "at": _ms(arrival.at),
            "earliest": _ms(arrival.earliest),
            "latest": _ms(arrival.latest),
        }
        for arrival in found
    ]


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
