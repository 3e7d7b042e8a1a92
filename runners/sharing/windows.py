"""Which races may be seen, and from when to when an entry shows its runner."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from django.db.models import Min, Q
from django.utils import timezone

from runners.models import Entry, Race, Runner, ShareLink
from runners.models.race import WINDOW_BEFORE_START, EntryQuerySet, RaceQuerySet

# A runner is seen for so long after their own finish, or after they gave up.
WINDOW_AFTER_END = timedelta(hours=1)


def visible_races(links: Collection[int] = ()) -> RaceQuerySet:
    """Return the races that a stranger, or a bearer of links, may see."""
    allowed = Q(visibility=Race.Visibility.PUBLIC)
    if links:
        usable = ShareLink.objects.usable().filter(pk__in=links)
        allowed |= Q(pk__in=usable.values("race"))
    return Race.objects.filter(allowed)


def races_of(runners: Iterable[Runner]) -> RaceQuerySet:
    """Return the races that are on and that anybody may know these runners are in."""
    entries = Entry.objects.shown().filter(runner__in=runners)
    return visible_races().window_open().filter(pk__in=entries.values("race"))


def entries_open(now: datetime | None = None) -> EntryQuerySet:
    """Return the entries for whose sake their runner can be seen now."""
    now = now or timezone.now()
    long_ago = now - WINDOW_AFTER_END
    over = Q(finished_at__lte=long_ago) | Q(out_at__lte=long_ago)
    return (
        Entry.objects.shown()
        .filter(race__in=Race.objects.window_open(now))
        .exclude(over)
    )


def shown_from(runners: Collection[int]) -> dict[int, datetime]:
    """Return when the open windows began of those who are seen in races only.

    Where they were before is nobody's business. Causes a query.
    """
    entries = entries_open().filter(
        runner__in=list(runners), runner__visibility=Runner.Visibility.RACE
    )
    starts = entries.order_by().values_list("runner").annotate(Min("race__start"))
    return {pk: start - WINDOW_BEFORE_START for pk, start in starts}


def window_end(entry: Entry) -> datetime:
    """Return when an entry stops to show its runner. Reads the race."""
    end = entry.finished_at or entry.out_at
    if end is None:
        return entry.race.ends
    return min(entry.race.ends, end + WINDOW_AFTER_END)
