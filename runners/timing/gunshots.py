"""Proposes markers of decoders, such as gunshots, as starts of a race and its waves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial, reduce
from operator import or_
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from runners.models import Passing, Race, Wave
from runners.timing.storage import passings_recompute

# A marker that is further from every start, such as a test in the morning, is no gun.
NEAR = timedelta(minutes=30)


class Gunshot(NamedTuple):
    """A marker, and the starts that it is closest to: of the race, of waves or both."""

    marker: Passing
    starts: Sequence[Race | Wave]

    @property
    def is_set(self) -> bool:
        return self.starts[0].start == self.marker.time


def gunshots_of(race: Race) -> list[Gunshot]:
    """Return the markers near a start, the newest first."""
    starts: list[Race | Wave] = [race, *race.waves.all()]
    times = {each.start for each in starts}
    near = reduce(or_, (Q(time__range=(at - NEAR, at + NEAR)) for at in times))
    markers = race.passings.filter(
        near, state=Passing.State.MARKER, time__lt=race.ends
    ).select_related("station")
    found = []
    for marker in markers.order_by("-time"):
        nearest = min(times, key=partial(_apart, marker))
        same = [each for each in starts if each.start == nearest]
        found.append(Gunshot(marker, same))
    return found


def _apart(marker: Passing, start: datetime) -> timedelta:
    assert marker.time is not None
    return abs(marker.time - start)


def starts_set(gunshot: Gunshot) -> None:
    """Start the race or waves at a gunshot, and compute the mats' splits again.

    The splits of a large field take long, and other writers must not wait for all of
    them: they are committed in parts, after the starts. If that fails, call it again.
    """
    assert gunshot.marker.time is not None
    with transaction.atomic():
        for each in gunshot.starts:
            each.start = gunshot.marker.time
            each.save()
    passings_recompute(race=gunshot.marker.race)
