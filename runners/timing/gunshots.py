"""Proposes markers of decoders, such as gunshots, as starts of a race and its waves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import transaction

from runners.models import Passing, Race, Wave
from runners.timing.storage import passings_recompute

# A marker that is further from every start, such as a test in the morning, is no gun.
NEAR = timedelta(minutes=30)
# The newest markers that are proposed.
SHOWN = 20


class Gunshot(NamedTuple):
    """A marker, and the starts that it is closest to: of the race, of waves or both."""

    marker: Passing
    starts: Sequence[Race | Wave]


def gunshots_of(race: Race) -> list[Gunshot]:
    """Return the newest markers near a start that differs from them."""
    starts: list[Race | Wave] = [race, *race.waves.all()]
    markers = race.passings.filter(
        state=Passing.State.MARKER, time__lt=race.ends
    ).select_related("station")
    found = []
    for marker in markers.order_by("-time")[:SHOWN]:
        assert marker.time is not None
        nearest = min((one.start for one in starts), key=partial(_apart, marker))
        if timedelta(0) < _apart(marker, nearest) <= NEAR:
            same = [one for one in starts if one.start == nearest]
            found.append(Gunshot(marker, same))
    return found


def _apart(marker: Passing, start: datetime) -> timedelta:
    assert marker.time is not None
    return abs(marker.time - start)


def starts_set(gunshot: Gunshot) -> None:
    """Start the race or waves at a gunshot, and compute the splits of all again."""
    assert gunshot.marker.time is not None
    with transaction.atomic():
        for one in gunshot.starts:
            one.start = gunshot.marker.time
            one.save()
    passings_recompute(race=gunshot.marker.race)
