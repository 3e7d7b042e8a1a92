"""Positions of a race's runners in chunks of a few minutes, for the replay."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
from django.db.models import TextField
from django.db.models.functions import Cast, Coalesce
from django.http import HttpRequest, HttpResponse

from runners import database
from runners.models import Entry, Position, Race
from runners.models.race import WINDOW_BEFORE_START
from runners.rights.access import visible_runners
from runners.rights.windows import visible_from
from runners.units.clock import milliseconds, moment_of
from runners.views.live_json import compressed
from runners.views.numbers import whole_number
from runners.views.policy import read_only
from runners.views.races.requests import answers_json, invalid, requested_race
from runners.views.share_header import SHARE_HEADER

# The length of a chunk. Chunks start at multiples of it, so that all pages share them.
CHUNK_MS = 300_000
# One point per runner and interval, because closer ones are indistinguishable.
STEP_MS = 5_000

# In UTC; parsed here, because Django's parser takes a quarter of the time on SQLite.
AT_AS_TEXT = Cast("recorded_at", TextField())

# t, lat, lng, progress
Point = tuple[int, float, float, int | None]


@read_only
@answers_json
async def replay_json(request: HttpRequest, slug: str) -> HttpResponse:
    """Return `{chunk, from, guns, runners: [{code, gun, points}]}`.

    `?from=MS` is rounded down to the start of a chunk of `chunk` milliseconds. A point
    is `[t, lat, lng, progress]`. `gun` is the start of the runner's wave, and `guns`
    has those of all waves. Runners who may be seen now are included, in the race's
    window and from the time on when the viewer may see them.
    """
    user = await request.auser()
    body = await database.read(_answer, request, slug, user.pk)
    response = await compressed(request, body)
    if user.pk is None and SHARE_HEADER not in request.headers:
        # The page's service worker may keep it (static/js/offline/worker.js).
        response["Spectate-Offline"] = "1"
    return response


# -- in a thread of the database pool


def _answer(request: HttpRequest, slug: str, user: int | None) -> bytes:
    race, links = requested_race(request, slug)
    begins = whole_number(request.GET.get("from", ""))
    if begins is None or begins >= 2**46:
        raise invalid("`from` is in milliseconds since the epoch.")
    begins -= begins % CHUNK_MS
    entries = Entry.objects.shown().filter(race=race)
    seen = visible_runners(user, links).filter(pk__in=entries.values("runner"))
    codes = dict(seen.values_list("pk", "code"))
    gun = Coalesce("wave__start", "race__start")
    guns = {pk: milliseconds(at) for pk, at in entries.values_list("runner", gun)}
    ends = {pk: until for pk, _, until in entries.windows()}
    shown = {
        pk: (begin, ends[pk])
        for pk, begin in visible_from(codes, user, links, race).items()
        if pk in ends
    }
    points = _read(race, shown, begins)
    return orjson.dumps(
        {
            "chunk": CHUNK_MS,
            "from": begins,
            "guns": sorted(set(guns.values())),
            "runners": [
                {"code": codes[pk], "gun": guns[pk], "points": of}
                for pk, of in points.items()
            ],
        }
    )


def _read(
    race: Race, shown: Mapping[int, tuple[datetime, datetime]], begins: int
) -> dict[int, list[Point]]:
    """Return the points of a chunk by runner, oldest first. Causes one query.

    `shown`: from when until when each runner is shown. Not cached, because positions
    may be erased at any time.
    """
    begun, ended = (moment_of(ms) for ms in (begins, begins + CHUNK_MS))
    rows = (
        Position.objects.filter(
            runner__in=list(shown),
            recorded_at__gte=max(begun, race.start - WINDOW_BEFORE_START),
            recorded_at__lt=min(ended, race.ends),
            held=False,
        )
        .order_by("recorded_at")
        .values_list("runner_id", AT_AS_TEXT, "lat", "lng", "progress")
    )
    points: dict[int, list[Point]] = {}
    for runner, text, lat, lng, progress in rows.iterator():
        recorded_at = datetime.fromisoformat(text).replace(tzinfo=UTC)
        begin, end = shown[runner]
        if not begin <= recorded_at < end:
            continue
        t = milliseconds(recorded_at)
        of = points.setdefault(runner, [])
        if of and t - of[-1][0] < STEP_MS:
            continue
        along = None if progress is None else round(progress)
        of.append((t, round(lat, 5), round(lng, 5), along))
    return points
