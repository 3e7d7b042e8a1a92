"""Arrival times of runners at a point of the course, as JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Sequence
from http import HTTPStatus
from threading import Lock
from typing import Any

import orjson
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from runners import database
from runners.live.encoding.ids import RunnerIdError, code_of
from runners.models import Entry, LatestPosition, Race, Split
from runners.models.runner import RunnerQuerySet
from runners.races.arrival.eta import Arrival, Passed, arrivals, probable_place
from runners.races.course import WGS84, Course
from runners.races.race_data import Ground, ground_of, rows_of, samples_of
from runners.races.standings import Row
from runners.rights.access import visible_runners
from runners.units.clock import now_ms
from runners.views.live_json import Refused
from runners.views.races.requests import answers_json, invalid, requested_race

# Runners in one request.
MAX_NAMED = 100
MAX_COMING = 50
# Distances from the course within which a point is accepted, tried in this order. The
# least one distinguishes parallel streets, and the way out from the way back.
REACHES_M = (30.0, 100.0, 300.0)
# How long a result is reused for requests about the same point.
AGE_S = 2.0
# Results in the cache.
KEPT = 200

Answer = dict[str, Any]


@require_safe
@answers_json
async def eta_json(request: HttpRequest, slug: str) -> HttpResponse:
    """Return when runners pass a point (docs/protocol.md).

    `?at=METRES` or `?at=LAT,LNG`, with `&runners=CODE,CODE` for these runners,
    otherwise those who arrive next. `refused` lists runners who may not be seen or are
    not in the race.
    """
    user = await request.auser()
    body = await database.read(_answer, request, slug, user.pk)
    return HttpResponse(body, content_type="application/json")


# Runs in a thread of the database pool.


def _answer(request: HttpRequest, slug: str, user: int | None) -> bytes:
    race, links = requested_race(request, slug)
    ground = ground_of(race)
    if ground.course is None:
        raise Refused(
            HTTPStatus.NOT_FOUND, "race.no_course", "This race has no course yet."
        )
    passes = _passes(ground.course, request.GET.get("at", ""))
    codes, refused = _codes(request)
    # Checked before a cached result is used.
    shown = visible_runners(user, links).filter(
        pk__in=Entry.objects.shown().filter(race=race).values("runner")
    )
    if codes:
        named = dict(shown.filter(code__in=codes).values_list("code", "pk"))
        runners = [named[code] for code in codes if code in named]
        refused += [
            {"code": "runner.unknown", "runner": code}
            for code in codes
            if code not in named
        ]
    elif refused:
        runners = []
    else:
        runners = _coming(race, shown, passes)
    found = _arrivals(race, ground, passes, runners)
    lat, lng = ground.course.point_at(passes[0])
    return orjson.dumps(
        {
            "race": race.slug,
            "time": now_ms(),
            "place": {
                "lat": round(lat, 6),
                "lng": round(lng, 6),
                "passes": [round(distance, 1) for distance in passes],
            },
            "runners": [found[runner] for runner in runners if runner in found],
            "refused": refused,
        }
    )


def _passes(course: Course, at: str) -> list[float]:
    """Return the metres at which the course passes the point. Raises `Refused`."""
    try:
        figures = [float(part) for part in at.split(",")]
    except ValueError:
        figures = []
    if not all(map(math.isfinite, figures)) or len(figures) not in (1, 2):
        raise invalid("`at` must be metres along the course, or a position as lat,lng.")
    if len(figures) == 1:
        (own,) = figures
        if not 0 <= own <= course.length + 1:
            raise Refused(
                HTTPStatus.BAD_REQUEST,
                "place.off_course",
                f"The course is {course.length / 1000:.1f} km long; `at` is in metres.",
            )
        own = min(own, course.length)
    else:
        own = _nearest(course, *figures)
    there = course.passes(*course.point_at(own), within=REACHES_M[0])
    # The requested distance, and not the other end of the same segment.
    others = [distance for distance in there if abs(distance - own) > 2 * REACHES_M[0]]
    return sorted([own, *others])


def _nearest(course: Course, lat: float, lng: float) -> float:
    if not (-90 <= lat <= 90 and -180 <= lng <= 180):
        raise invalid("`at` is not on earth: lat,lng in degrees.")
    for reach in REACHES_M:
        if near := course.passes(lat, lng, within=reach):
            return min(near, key=lambda d: _metres(lat, lng, *course.point_at(d)))
    raise Refused(
        HTTPStatus.BAD_REQUEST,
        "place.off_course",
        f"The course does not come within {REACHES_M[-1]:.0f} m of `at`. "
        "Choose a place on the course.",
    )


def _metres(lat: float, lng: float, to_lat: float, to_lng: float) -> float:
    return float(WGS84.inv(lng, lat, to_lng, to_lat)[2])


def _codes(request: HttpRequest) -> tuple[list[str], list[dict[str, str]]]:
    """Return the requested codes, and those that are not valid."""
    texts = dict.fromkeys(",".join(request.GET.getlist("runners")).split(","))
    texts.pop("", None)
    if len(texts) > MAX_NAMED:
        raise invalid(f"At most {MAX_NAMED} runners in one request.")
    codes, refused = [], []
    for text in texts:
        try:
            codes.append(code_of(text))
        except RunnerIdError:
            refused.append({"code": "runner.invalid", "runner": text[:80]})
    return codes, refused


def _coming(race: Race, shown: RunnerQuerySet, passes: Sequence[float]) -> list[int]:
    """Return the runners who arrive next, by the last place where they were seen."""
    started = Entry.objects.filter(race=race, status=Entry.Status.STARTED)
    runners = shown.filter(pk__in=started.values("runner"))
    by_phone = LatestPosition.objects.filter(
        runner__in=runners, recorded_at__lte=race.ends, progress__isnull=False
    ).values_list("runner", "progress")
    by_mat = (
        Split.objects.filter(entry__race=race, entry__runner__in=runners, by_mat=True)
        .values("entry__runner")
        .annotate(distance=Max("checkpoint__distance"))
        .values_list("entry__runner", "distance")
    )
    seen: dict[int, float] = {}
    for runner, progress in [*by_phone, *by_mat]:
        seen[runner] = max(seen.get(runner, 0.0), progress or 0.0)
    ahead = sorted(
        (min(left), runner)
        for runner, progress in seen.items()
        if (left := [p - progress for p in passes if p > progress])
    )
    return [runner for _, runner in ahead[:MAX_COMING]]


_kept: dict[tuple[object, ...], dict[int, Answer]] = {}
_kept_lock = Lock()


def _arrivals(
    race: Race, ground: Ground, passes: Sequence[float], runners: Collection[int]
) -> dict[int, Answer]:
    """Return the arrivals of visible runners, cached for the next requests."""
    moment = int(time.monotonic() / AGE_S)
    key = (race.pk, race.changed_at, *(round(distance) for distance in passes), moment)
    with _kept_lock:
        kept = _kept.setdefault(key, {})
        while len(_kept) > KEPT:
            del _kept[next(iter(_kept))]
    missing = [runner for runner in runners if runner not in kept]
    if missing:
        kept |= _read(race, ground, passes, missing)
    return kept


def _read(
    race: Race, ground: Ground, passes: Sequence[float], runners: Collection[int]
) -> dict[int, Answer]:
    now = timezone.now()
    rows = rows_of(race, ground, runners)
    samples = samples_of(rows, now)
    return {
        row.runner: {
            "runner": row.code,
            "name": row.name,
            "bib": row.bib,
            "status": row.status,
            "progress": None if row.distance is None else round(row.distance, 1),
            "seen": _ms(row.last_fix_at),
            **_predicted(row, samples[row.runner], passes, ground, now.timestamp()),
        }
        for row in rows
    }


def _predicted(
    row: Row,
    samples: Sequence[Passed],
    passes: Sequence[float],
    ground: Ground,
    now: float,
) -> Answer:
    assert ground.slopes is not None
    found = arrivals(
        passes,
        samples,
        ground.slopes,
        now=now,
        prior=ground.prior,
        last_fix_at=row.last_fix_at,
        status=row.status,
    )
    place = probable_place(
        samples,
        ground.slopes,
        now=now,
        prior=ground.prior,
        last_fix_at=row.last_fix_at,
        status=row.status,
    )
    return {
        "probable": place
        and {
            "progress": round(place.distance, 1),
            "from": round(place.nearest, 1),
            "to": round(place.farthest, 1),
        },
        "passes": _said(found),
    }


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
