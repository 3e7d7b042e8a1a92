"""Who may see whom, and what they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polyline
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.module_loading import import_string

from runners.live.dialects import v1
from runners.models import Entry, Follow, LatestPosition, Position, Race, Runner
from runners.models.runner import (
    RunnerQuerySet,
    RunnerToken,
    palette_colour,
    token_digest,
)
from runners.positions.accept import Publisher
from runners.races.course import Course

# Who was seen within it is on the page of everybody public.
LATELY = timedelta(hours=12)
# How much of a trail a snapshot shows.
TRAIL = timedelta(minutes=5)
# A snapshot of more runners shows no trails: they would be most of its bytes.
TRAIL_RUNNERS = 100


def visible_runners(user_id: int | None) -> RunnerQuerySet:
    """Return the runners that a user, or a stranger (None), may see now."""
    in_race = Entry.objects.filter(
        runner=OuterRef("pk"), race__in=Race.objects.window_open()
    )
    allowed = Q(visibility=Runner.Visibility.PUBLIC) | Q(
        Exists(in_race), visibility=Runner.Visibility.RACE
    )
    if user_id is not None:
        accepted = Follow.objects.accepted().filter(
            runner=OuterRef("pk"), user_id=user_id
        )
        allowed |= Q(account_id=user_id)
        allowed |= Q(Exists(accepted)) & ~Q(visibility=Runner.Visibility.PRIVATE)
    return Runner.objects.filter(allowed)


def lately_public() -> RunnerQuerySet:
    """Return everybody public who was seen lately."""
    return Runner.objects.public().seen_since(timezone.now() - LATELY)


def user_of_session(session_key: str) -> int | None:
    """Return the id of the user who is signed in by a session, if any."""
    request = HttpRequest()
    store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    request.session = store(session_key)
    if SESSION_KEY not in request.session:
        return None
    user = get_user(request)
    return None if isinstance(user, AnonymousUser) else user.pk


def publisher_of_token(plain: str) -> Publisher | None:
    """Return the runner whose usable token this is; notes its use."""
    token = (
        RunnerToken.objects.usable()
        .select_related("runner")
        .filter(digest=token_digest(plain))
        .first()
    )
    if token is None:
        return None
    token.last_used_at = timezone.now()
    token.save(update_fields=["last_used_at"])
    return Publisher(token.runner.pk, token.runner.code)


def open_publisher(code: str) -> Publisher:
    """Return the runner of a code, made now if need be (open mode)."""
    runner, _ = Runner.objects.get_or_create(code=code, defaults={"name": code})
    return Publisher(runner.pk, code)


def followable(
    user_id: int | None, codes: Sequence[str], *, create: bool
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the primary keys of those who may be followed, and why others may not.

    With `create` (open mode) unknown codes become public runners. The reasons are
    error codes: whoever may not be seen is as unknown as whoever does not exist,
    except to those who asked to follow them.
    """
    if create:
        known = set(
            Runner.objects.filter(code__in=codes).values_list("code", flat=True)
        )
        Runner.objects.bulk_create(
            [
                Runner(code=code, name=code, colour=palette_colour(code))
                for code in codes
                if code not in known
            ],
            ignore_conflicts=True,
        )
    found = dict(
        visible_runners(user_id).filter(code__in=codes).values_list("code", "pk")
    )
    missing = [code for code in codes if code not in found]
    asked: set[str] = set()
    if missing and user_id is not None:
        asked = set(
            Follow.objects.filter(user_id=user_id, runner__code__in=missing)
            .exclude(status=Follow.Status.ACCEPTED)
            .values_list("runner__code", flat=True)
        )
    return found, {
        code: "follow.forbidden" if code in asked else "runner.unknown"
        for code in missing
    }


def find_race(slug: str) -> int | None:
    """Return the primary key of a race."""
    return Race.objects.filter(slug=slug).values_list("pk", flat=True).first()


# Snapshots


def fix_row(latest: LatestPosition) -> list[Any]:
    """Return a latest position as a row of `positions` without its code."""
    return v1.fix_row(
        milliseconds(latest.recorded_at),
        latest.lat,
        latest.lng,
        latest.speed,
        latest.heading,
    )


def runner_items(
    runners: Iterable[int] | RunnerQuerySet, race: int | None = None
) -> dict[int, dict[str, Any]]:
    """Return the `runners` of a snapshot by primary key, without trails.

    Bib and state are those of the race, or of the race that each is in now. Causes
    two queries.
    """
    queryset = (
        runners
        if isinstance(runners, RunnerQuerySet)
        else Runner.objects.filter(pk__in=list(runners))
    )
    entries = Entry.objects.filter(runner__in=queryset.values("pk"))
    if race is None:
        entries = entries.filter(race__in=Race.objects.window_open())
    else:
        entries = entries.filter(race=race)
    entry_of = {
        entry.runner_id: entry
        for entry in entries.select_related("race").order_by("-race__start")
    }
    return {
        runner.pk: _runner_item(runner, entry_of.get(runner.pk))
        for runner in queryset.select_related("latest")
    }


def _runner_item(runner: Runner, entry: Entry | None) -> dict[str, Any]:
    latest = getattr(runner, "latest", None)
    state = None
    if entry is not None:
        started = latest is not None and latest.recorded_at >= entry.race.start
        state = "started" if started else "registered"
    return {
        "code": runner.code,
        "name": runner.name,
        "bib": entry.bib if entry is not None else None,
        "colour": runner.colour,
        "state": state,
        "fix": None if latest is None else fix_row(latest),
        "trail": "",
        "race": entry.race.slug if entry is not None else None,
    }


def add_trails(items: Mapping[int, dict[str, Any]]) -> None:
    """Give each runner of a snapshot their last minutes. Causes a query."""
    if not 0 < len(items) <= TRAIL_RUNNERS:
        return
    trails: dict[int, list[tuple[float, float]]] = {pk: [] for pk in items}
    places = (
        Position.objects.filter(
            runner__in=list(items), recorded_at__gte=timezone.now() - TRAIL
        )
        .order_by("recorded_at")
        .values_list("runner_id", "lat", "lng")
    )
    for pk, lat, lng in places:
        trails[pk].append((lat, lng))
    for pk, trail in trails.items():
        if trail:
            items[pk]["trail"] = polyline.encode(trail, 5)


def race_item(pk: int) -> dict[str, Any]:
    """Return the race of a snapshot: course and checkpoints. Causes two queries."""
    race = Race.objects.get(pk=pk)
    course = Course(race.line) if race.line else None
    return {
        "slug": race.slug,
        "name": race.name,
        "start": milliseconds(race.start),
        "course": {
            "line": course.encoded_line() if course else "",
            "length": round(race.length, 1),
        },
        "checkpoints": [
            {
                "id": checkpoint.pk,
                "name": checkpoint.name,
                "distance": checkpoint.distance,
                "kind": checkpoint.kind,
                "lat": place[0] if place else None,
                "lng": place[1] if place else None,
            }
            for checkpoint in race.checkpoints.all()
            for place in (course.point_at(checkpoint.distance) if course else None,)
        ],
    }


def milliseconds(moment: datetime) -> int:
    """Return a moment as milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)
