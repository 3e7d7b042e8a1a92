"""Decides which races are visible, when an entry shows its runner, and from when on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from runners.models import Entry, Follow, Race, Runner, ShareLink
from runners.models.entry import EntryQuerySet
from runners.models.race import LONG_AGO, NEVER, RaceQuerySet
from runners.models.runner import PUBLIC_HISTORY, RunnerQuerySet
from runners.units.errors import CodedError

# A runner is shown for this long after their finish or DNF.
WINDOW_AFTER_END = timedelta(hours=1)


def visible_races(links: Collection[int] = ()) -> RaceQuerySet:
    """Return the races that a stranger or a holder of links may see."""
    allowed = Q(visibility=Race.Visibility.PUBLIC)
    if links:
        usable = ShareLink.objects.usable().filter(pk__in=links)
        allowed |= Q(pk__in=usable.values("race"))
    return Race.objects.filter(allowed)


def visible_race(slug: str, links: Collection[int] = ()) -> Race:
    """Return a race without its line; raises `CodedError` if it may not be seen.

    Races that may not be seen are refused as unknown.
    """
    race = visible_races(links).defer("line").filter(slug=slug).first()
    if race is None:
        raise CodedError(
            "race.unknown", "There is no such race, or it is not shown to you."
        )
    return race


def races_of(runners: Iterable[Runner]) -> RaceQuerySet:
    """Return the public races in which these runners are entered, the last first.

    These are the races under way, and those that have ended within a day: a runner's
    page says for that long how the race has ended.
    """
    entries = Entry.objects.shown().filter(runner__in=runners)
    races = visible_races().open_or_lately_over()
    return races.filter(pk__in=entries.values("race")).order_by("-start", "name")


def entries_open() -> EntryQuerySet:
    """Return the entries that show their runner now."""
    now = timezone.now()
    long_ago = now - WINDOW_AFTER_END
    over = Q(finished_at__lte=long_ago) | Q(out_at__lte=long_ago)
    return Entry.objects.open_at(now).exclude(over)


def public_from(
    runners: Collection[int] | RunnerQuerySet, race: Race | None = None
) -> dict[int, datetime]:
    """Map runners to the time from which everybody sees their positions.

    These are the last 24 hours of public runners, or longer in their current race, and
    the race windows of runners who are visible in races only; of both nothing from
    before the runner chose this. A replay counts `race` as current. Others are left
    out. Causes three queries.
    """
    among: Any = (
        runners.values("pk") if isinstance(runners, RunnerQuerySet) else list(runners)
    )
    of = Q(runner__in=among)
    windows: dict[int, datetime] = {}
    for pk, opens, _ in entries_open().filter(of).windows():
        windows[pk] = min(opens, windows.get(pk, opens))
    if race is not None:
        entries = Entry.objects.shown().filter(of, race=race)
        windows |= {pk: opens for pk, opens, _ in entries.windows()}
    # In open mode, publishers may have any clock.
    day_ago = LONG_AGO if settings.SPECTATE_OPEN else timezone.now() - PUBLIC_HISTORY
    rows = Runner.objects.filter(
        pk__in=among,
        visibility__in=[Runner.Visibility.PUBLIC, Runner.Visibility.RACE],
    ).values_list("pk", "visibility", "public_from")
    begins = {}
    for pk, visibility, chosen_at in rows:
        begin = windows.get(pk)
        if visibility == Runner.Visibility.PUBLIC:
            begin = min(day_ago, begin or day_ago)
        if begin is not None:
            begins[pk] = max(begin, chosen_at or LONG_AGO)
    return begins


def visible_from(
    runners: Collection[int],
    user: int | None,
    links: Collection[int] = (),
    race: Race | None = None,
) -> dict[int, datetime]:
    """Map runners to the time from which a viewer sees their positions.

    Accepted followers see them from the acceptance on, holders of a link from its
    creation on unless it includes earlier ones, runners all of their own. Causes three
    to six queries.
    """
    begins = public_from(runners, race)

    def open_from(pk: int, begin: datetime) -> None:
        begins[pk] = min(begins.get(pk, begin), begin)

    if links:
        usable = ShareLink.objects.usable().filter(pk__in=links)
        pairs = ShareLink.runners.through.objects.filter(
            sharelink__in=usable, runner__in=list(runners)
        )
        for pk, begin in pairs.values_list("runner_id", "sharelink__shown_from"):
            open_from(pk, begin or LONG_AGO)
    if user is not None:
        follows = Follow.objects.accepted().filter(
            user=user,
            runner__in=list(runners),
            runner__visibility=Runner.Visibility.FOLLOWERS,
            shown_from__isnull=False,
        )
        for pk, *starts in follows.values_list(
            "runner", "shown_from", "runner__followers_from"
        ):
            open_from(pk, max(start or LONG_AGO for start in starts))
        own = Runner.objects.filter(pk__in=list(runners), account=user)
        for pk in own.values_list("pk", flat=True):
            open_from(pk, LONG_AGO)
    return {pk: begins.get(pk, NEVER) for pk in runners}


def window_end(entry: Entry) -> datetime:
    """Return when an entry stops showing its runner. Reads race and runner."""
    ends = min(entry.race.ends, entry.agreed[1])
    over = entry.finished_at or entry.out_at
    return ends if over is None else min(ends, over + WINDOW_AFTER_END)
