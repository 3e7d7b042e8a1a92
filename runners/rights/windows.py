"""Decides which races are visible, and when an entry shows its runner."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from django.db.models import Min, Q
from django.utils import timezone

from runners.models import Entry, Race, Runner, ShareLink
from runners.models.race import WINDOW_BEFORE_START, EntryQuerySet, RaceQuerySet

# A runner is shown for this long after their finish or DNF.
WINDOW_AFTER_END = timedelta(hours=1)


def visible_races(links: Collection[int] = ()) -> RaceQuerySet:
    """Return the races that a stranger or a holder of links may see."""
    allowed = Q(visibility=Race.Visibility.PUBLIC)
    if links:
        usable = ShareLink.objects.usable().filter(pk__in=links)
        allowed |= Q(pk__in=usable.values("race"))
    return Race.objects.filter(allowed)


def races_of(runners: Iterable[Runner]) -> RaceQuerySet:
    """Return the public races under way in which these runners are entered."""
    entries = Entry.objects.shown().filter(runner__in=runners)
    return visible_races().window_open().filter(pk__in=entries.values("race"))


def entries_open(now: datetime | None = None) -> EntryQuerySet:
    """Return the entries that show their runner now."""
    now = now or timezone.now()
    long_ago = now - WINDOW_AFTER_END
    over = Q(finished_at__lte=long_ago) | Q(out_at__lte=long_ago)
    return (
        Entry.objects.shown()
        .filter(race__in=Race.objects.window_open(now))
        .exclude(over)
    )


def shown_from(runners: Collection[int]) -> dict[int, datetime]:
    """Map runners who are visible in races only to the start of their open window.

    Earlier positions of these runners are private. Causes one query.
    """
    entries = entries_open().filter(
        runner__in=list(runners), runner__visibility=Runner.Visibility.RACE
    )
    starts = entries.order_by().values_list("runner").annotate(Min("race__start"))
    return {pk: start - WINDOW_BEFORE_START for pk, start in starts}


def window_end(entry: Entry) -> datetime:
    """Return when an entry stops showing its runner. Reads the race."""
    end = entry.finished_at or entry.out_at
    if end is None:
        return entry.race.ends
    return min(entry.race.ends, end + WINDOW_AFTER_END)
