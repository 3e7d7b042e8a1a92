"""The field of a simulation in the database: runners, entries, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

from django.db import transaction
from django.utils import timezone

from runners.models import Entry, LatestPosition, Race, Runner, RunnerToken
from runners.models.runner import palette_colour

TOKEN_NAME = "simulator"
# Runners seen within this time continue from their last position.
LATELY = timedelta(minutes=5)
# The fixes of a runner that are needed to compute a pace.
PACE_WINDOW = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Starter:
    """A runner of the field: a token, and where they are.

    `distance` is metres along the course, None for any; `pace` m/s, None for any;
    `wait` seconds until their start. DNFs stand still.
    """

    token: RunnerToken
    plain: str
    distance: float | None
    pace: float | None
    wait: float
    is_out: bool


def field_create(*, race: Race, size: int) -> list[Starter]:
    """Create missing runners sim-1 to sim-N and their entries; issue a token each.

    Returns them in that order. Existing rows stay as they are.
    """
    with transaction.atomic():
        entries = entries_create(race=race, size=size)
        now = timezone.now()
        return [
            _starter(
                entry, *RunnerToken.objects.issue(entry.runner, name=TOKEN_NAME), now
            )
            for entry in entries
        ]


def entries_create(*, race: Race, size: int) -> list[Entry]:
    """Create missing runners and their entries; return all in order."""
    codes = [f"sim-{number}" for number in range(1, size + 1)]
    there = set(Runner.objects.filter(code__in=codes).values_list("code", flat=True))
    Runner.objects.bulk_create(
        Runner(code=code, name=f"Runner {number}", colour=palette_colour(code))
        for number, code in enumerate(codes, start=1)
        if code not in there
    )
    runners = {r.code: r for r in Runner.objects.filter(code__in=codes)}
    taken = race.entries.values_list("runner_id", "bib")
    entered = {runner for runner, _ in taken}
    bibs = {bib for _, bib in taken}
    free = (str(bib) for bib in count(1) if str(bib) not in bibs)
    Entry.objects.bulk_create(
        Entry(race=race, runner=runners[code], bib=next(free))
        for code in codes
        if runners[code].pk not in entered
    )
    entries = race.entries.filter(runner__code__in=codes)
    by_code = {
        entry.runner.code: entry
        for entry in entries.select_related("runner__latest", "wave")
    }
    return [by_code[code] for code in codes]


def field_dismiss(tokens: Sequence[RunnerToken]) -> None:
    """Revoke a simulation's tokens."""
    with transaction.atomic():
        for token in tokens:
            token.revoke()


def _starter(entry: Entry, token: RunnerToken, plain: str, now: datetime) -> Starter:
    since_gun = now - entry.gun
    latest: LatestPosition | None = getattr(entry.runner, "latest", None)
    distance = pace = None
    wait = 0.0
    # Without waves the field runs immediately, regardless of the race's start.
    if entry.wave is not None and since_gun < timedelta():
        distance, wait = 0.0, -since_gun.total_seconds()
    elif (
        latest is not None
        and latest.progress is not None
        and entry.gun < latest.recorded_at > now - LATELY
    ):
        distance = latest.progress
        running = latest.recorded_at - entry.gun
        if running > PACE_WINDOW:
            pace = distance / running.total_seconds()
    return Starter(
        token=token,
        plain=plain,
        distance=distance,
        pace=pace,
        wait=wait,
        is_out=entry.status in Entry.OUT,
    )
