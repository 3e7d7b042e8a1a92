"""The data of a topic (all public runners, or a race), shared by many visitors.

Pages and `/live.json` use it; each process reads its own.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from runners.live.encoding import messages
from runners.models import Race
from runners.races.course import Course
from runners.rights.access import blockers_of, topic_runners
from runners.snapshots.items import (
    TRAIL_RUNNERS,
    Item,
    Items,
    add_trails,
    race_item,
    runner_items,
)
from runners.units.clock import now_ms

# How long a topic's items are cached.
MAX_AGE_S = 1.0
# Limits of cached topics, and of cached courses.
MAX_TOPICS = 32
MAX_COURSES = 20
# How long a course is cached.
COURSE_AGE_S = 60
# Points of a height profile, and the least difference in metres that is worth one.
HEIGHTS = 200
LEAST_M = 5
# Rows in the page's list before its scripts run.
MOST_ROWS = 500
# The states of a signal by the age of the last fix in milliseconds. Older signals are
# lost.
LIVENESS = ((30_000, "live"), (120_000, "delayed"), (600_000, "stale"))
# Phones are silent after this time without a fix: their runners may be estimated.
SILENT_AFTER_MS = 120_000


class CachedTopic(NamedTuple):
    """A topic's items, when their read began, and what a page made of them.

    `rows`: the page's first rows, by language and whether the race is over.
    """

    began: float
    items: Items
    rows: dict[tuple[str, bool], SafeString]


class TopicReads:
    """Reads each topic at most once per second, in one thread for all that ask."""

    def __init__(self) -> None:
        self._locks: dict[int | None, threading.Lock] = {}
        self._cached: dict[int | None, CachedTopic] = {}

    def read(self, race: int | None) -> CachedTopic:
        """Return the items of a race, or of all public runners for None.

        Their read began at most a second before the call. Calls later in a long read
        wait for its end and share the next one.
        """
        asked = time.monotonic()
        with self._locks.setdefault(race, threading.Lock()):
            cached = self._cached.get(race)
            if cached is None or cached.began + MAX_AGE_S < asked:
                if len(self._cached) >= MAX_TOPICS:
                    self._cached.clear()
                cached = CachedTopic(time.monotonic(), _read(race), {})
                self._cached[race] = cached
            return cached

    def clear(self) -> None:
        """Read all topics again."""
        self._cached.clear()


topics = TopicReads()


def topic_items(race: int | None, *, fresh: bool) -> Items:
    """Return a race's runners who may be seen, as in a snapshot, by primary key.

    None: all public runners. `fresh`: with trails. The result is shared and must not
    be changed.
    """
    items = topics.read(race).items
    if fresh or len(items) > TRAIL_RUNNERS:
        return items
    return {pk: {**item, "trail": ""} for pk, item in items.items()}


def _read(race: int | None) -> Items:
    items = runner_items(topic_runners(race), race)
    add_trails(items)
    return items


def without_blockers(items: Items, user: int | None) -> Items:
    """Remove runners who have blocked the user. Topics are read for all users."""
    blockers = blockers_of([user]).get(user, ()) if user is not None else ()
    if not blockers:
        return items
    return {pk: item for pk, item in items.items() if pk not in blockers}


def course_of(race: Race, now: datetime) -> messages.Race:
    """Return a race's item as in a snapshot, at most one minute old."""
    return _cached_course(
        race.pk, race.changed_at, int(now.timestamp() // COURSE_AGE_S)
    )


def heights_of(race: Race | None) -> dict[str, Any] | None:
    """Return heights at equal distances along a course, or None if it has none."""
    if race is None:
        return None
    values = _cached_heights(race.pk, race.changed_at)
    return None if values is None else {"race": race.slug, "values": values}


def first_rows(race: Race | None, user: int | None) -> SafeString:
    """Return the rows that a page has in its list before its scripts run."""
    pk, is_over = (race.pk, race.is_over) if race else (None, False)
    cached = topics.read(pk)
    seen = without_blockers(cached.items, user)
    if seen is not cached.items:
        return _render(seen, is_over)
    variant = get_language() or "", is_over
    if variant not in cached.rows:
        cached.rows[variant] = _render(cached.items, is_over)
    return cached.rows[variant]


@lru_cache(maxsize=MAX_COURSES)
def _cached_course(pk: int, changed_at: datetime, age: int) -> messages.Race:
    # Projecting a marathon's course takes 0.1 s, too long for each visitor of a crowd.
    # The maximum age makes changed checkpoints visible.
    return race_item(pk)


@lru_cache(maxsize=MAX_COURSES)
def _cached_heights(pk: int, changed_at: datetime) -> list[float] | None:
    race = Race.objects.get(pk=pk)
    heights = [point[2] for point in race.line if len(point) > 2]
    if len(heights) < max(2, len(race.line)) or max(heights) - min(heights) < LEAST_M:
        return None
    course = Course(race.line, length=race.length)
    heights = [point[2] for point in course.points]
    places = np.linspace(0, course.length, HEIGHTS)
    return [round(h, 1) for h in np.interp(places, course.distances, heights).tolist()]


class FirstRow(NamedTuple):
    """A runner in the list of a new page."""

    code: str
    url: str
    name: str
    bib: str
    state: str
    words: str
    # Metres along the course, or None.
    kilometres: float | None


def _render(items: Items, is_over: bool) -> SafeString:
    now = now_ms()
    url = reverse("runner", args=["CODE"])
    rows = [_first_row(item, url, now, is_over) for item in items.values()]
    # Sorted as by the page's script: lost signals last.
    rows.sort(key=lambda row: (row.state == "lost", -(row.kilometres or -1), row.name))
    return render_to_string("runners/_first_rows.html", {"rows": rows[:MOST_ROWS]})


def _first_row(item: Item, url: str, now: int, is_over: bool) -> FirstRow:
    fix = item["fix"]
    state = "lost"
    if item["state"] == "finished":
        state = "finished"
    elif not is_over and _is_estimated(item, now):
        state = "estimated"
    elif fix is not None and not is_over:
        old = now - fix[0]
        state = next((word for limit, word in LIVENESS if old < limit), state)
    progress = fix[5] if fix is not None else None
    return FirstRow(
        code=item["code"],
        url=url.replace("CODE", item["code"]),
        name=item["name"],
        bib=item["bib"] or "",
        state=state,
        words=_words(item, state, is_over),
        kilometres=None if progress is None else progress / 1000,
    )


def _is_estimated(item: Item, now: int) -> bool:
    """Return whether a runner is between two mats, without a phone that sends."""
    fix, estimate = item["fix"], item["estimate"]
    if estimate is None:
        return False
    nodes, since = estimate["nodes"], estimate["t"]
    if fix is not None and now - fix[0] < SILENT_AFTER_MS:
        return False
    if fix is not None and fix[0] > since:
        progress, since = fix[5], fix[0]
        if progress is None or item["state"] == "off_course":
            return False
        if not nodes[0][1] <= progress < nodes[-1][2]:
            return False
    return bool(now <= since + 1000 * nodes[-1][0])


def _words(item: Item, state: str, is_over: bool) -> str:
    """Return a state as text, without an age, because it would not be updated."""
    if is_over and state != "finished":
        return _("Not finished")
    if item["fix"] is None and state == "lost":
        return _("Not seen yet")
    return {
        "live": _("Live"),
        "delayed": _("Delayed"),
        "stale": _("Stale"),
        "lost": _("No signal"),
        "estimated": _("Estimated"),
        "finished": _("Finished"),
    }[state]
