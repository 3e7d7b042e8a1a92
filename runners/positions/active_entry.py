"""An entry whose race is not over, with its course."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zlib import crc32

import orjson

from runners.models import Entry, Race
from runners.models.race import LONG_AGO, NEVER
from runners.races.course import Course
from runners.races.progress import Guide
from runners.races.splits import Mark
from runners.units.clock import milliseconds


@dataclass(frozen=True, slots=True)
class ActiveEntry:
    """An entry whose race is not over, with its course.

    Its fixes count from `opens` to `ends`. `version` changes with the course, its
    checkpoints and the gun. Times are in milliseconds.
    """

    entry: int
    race: int
    slug: str
    # Whether the race is public, and not for holders of a link only.
    public: bool
    gun: int
    opens: int
    ends: int
    guide: Guide
    version: int

    def is_on(self, t: int) -> bool:
        """Return whether a fix of this time is one of the race."""
        return self.opens <= t <= self.ends


class _Known(NamedTuple):
    changed_at: datetime
    race: Race
    guide: Guide
    version: int


_known: dict[int, _Known] = {}
_knowing = threading.Lock()


def active_entry(entry: Entry, *, is_own: bool = False) -> ActiveEntry:
    """Return an entry with its course and window.

    `is_own`: for positions that the runners give themselves, which count also outside
    of the window that they have agreed to show.
    """
    known = _race(entry.race_id)
    gun = entry.wave.start if entry.wave else known.race.start
    agreed_from, agreed_until = (LONG_AGO, NEVER) if is_own else entry.agreed
    opens = max(known.race.opens_for(entry.wave), agreed_from)
    ends = min(known.race.ends, agreed_until)
    gun_ms = milliseconds(gun)
    return ActiveEntry(
        entry=entry.pk,
        race=entry.race_id,
        slug=known.race.slug,
        public=known.race.visibility == Race.Visibility.PUBLIC,
        gun=gun_ms,
        opens=milliseconds(opens),
        ends=milliseconds(ends),
        guide=known.guide,
        version=known.version ^ gun_ms & 0xFFFFFFFF,
    )


def _race(pk: int) -> _Known:
    """Return a race with its guide, made once for each change of the race."""
    changed_at = Race.objects.values_list("changed_at", flat=True).get(pk=pk)
    with _knowing:
        known = _known.get(pk)
        if known is None or known.changed_at != changed_at:
            race = Race.objects.get(pk=pk)
            marks = [
                Mark(checkpoint.pk, checkpoint.distance, checkpoint.kind)
                for checkpoint in race.checkpoints.all()
            ]
            made_of = [race.line, race.length, race.top_speed, list(map(tuple, marks))]
            version = crc32(orjson.dumps(made_of))
            if known is not None and known.version == version:
                guide = known.guide
            else:
                course = Course(race.line, length=race.length)
                guide = Guide(course, marks, top_speed=race.top_speed)
            known = _known[pk] = _Known(race.changed_at, race, guide, version)
    return known
