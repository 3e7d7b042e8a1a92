"""Finds runners whose phone and chip are not in the same place.

Somebody else carries one of them, or the phone is in a car.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from django.db.models import Case, OuterRef, QuerySet, Subquery, When

from runners.models import Checkpoint, Position, Race, Split
from runners.races.progress.state import metres_between
from runners.races.race_data import ground_of
from runners.rights.roles import Action

# A phone and a mat disagree if their times of a split differ by more than this, beyond
# the uncertainty of the phone's,
DISAGREE_S = 60.0
# or if the phone has not passed the mat, and the fixes around the time when the chip
# did are this far from it. Only those this recent count, in which time a runner cannot
# come from so far. There have to be two, as one may be false: one before and one after,
# or two on one side of a silence.
DISAGREE_M = 500.0
RECENT = timedelta(seconds=60)
FIXES_AROUND = ("before", "second_before", "after", "second_after")
# Whether what a phone measured at a moment is shown.
Shows: TypeAlias = Callable[[datetime], bool]


def disagreements(
    race: Race, shown: Mapping[int, Shows], actions: Collection[Action]
) -> dict[int, dict[str, Any]]:
    """Map the `shown` entries to the last checkpoint where phone and mat disagree.

    `seconds` are those by which the phone was later, or earlier if negative, for those
    who see the phone's times anyway. If it has not passed the checkpoint, `metres` are
    its distance from there instead, for those who see positions. Causes one query, and
    two more if a phone has missed a checkpoint.
    """
    sees_places = Action.POSITIONS in actions
    if not sees_places and Action.TIMES not in actions:
        return {}
    splits = list(_splits_with_fixes(race))
    positions = Position.objects.in_bulk(
        pk
        for split in splits
        for name in FIXES_AROUND
        if (pk := getattr(split, name)) is not None
    )
    found: dict[int, dict[str, Any]] = {}
    for split in splits:
        shows = shown.get(split.entry_id)
        if shows is None or not shows(split.phone_time or split.time):
            continue
        if split.phone_time is not None:
            apart = _seconds_apart(split, split.phone_time)
        elif sees_places:
            around = [positions.get(getattr(split, name)) for name in FIXES_AROUND]
            fixes = [one for one in around if one and shows(one.recorded_at)]
            apart = _metres_apart(race, split, fixes)
        else:
            apart = None
        if apart:
            found[split.entry_id] = {"checkpoint": split.checkpoint.name} | apart
    return found


def _splits_with_fixes(race: Race) -> QuerySet[Any]:
    """Return the splits by mat of runners with phones, by time.

    Those that the phone has missed have `FIXES_AROUND`, the primary keys of the fixes
    around them. The start is left out: runners wait there, and a phone takes a
    step of the crowd for the start.
    """
    drawn = Position.objects.filter(runner=OuterRef("entry__runner"), held=False)
    before = drawn.filter(recorded_at__lte=OuterRef("time")).order_by("-recorded_at")
    after = drawn.filter(recorded_at__gt=OuterRef("time")).order_by("recorded_at")
    return (
        Split.objects.filter(entry__race=race, by_mat=True)
        .exclude(phone_time=None, entry__runner__latest=None)
        .exclude(checkpoint__kind=Checkpoint.Kind.START)
        .annotate(
            before=_if_missed(before, 0),
            second_before=_if_missed(before, 1),
            after=_if_missed(after, 0),
            second_after=_if_missed(after, 1),
        )
        .select_related("checkpoint")
        .order_by("time")
    )


def _if_missed(positions: QuerySet[Position], index: int) -> Case:
    one = positions.values("pk")[index : index + 1]
    return Case(When(phone_time=None, then=Subquery(one)))


def _seconds_apart(split: Split, phone_time: datetime) -> dict[str, int] | None:
    seconds = (phone_time - split.time).total_seconds()
    is_apart = abs(seconds) > DISAGREE_S + split.phone_uncertainty
    return {"seconds": round(seconds)} if is_apart else None


def _metres_apart(
    race: Race, split: Split, around: Sequence[Position]
) -> dict[str, int] | None:
    recent = [one for one in around if abs(one.recorded_at - split.time) <= RECENT]
    course = ground_of(race).course if len(recent) >= 2 else None
    if course is None:
        return None
    mat = course.point_at(split.checkpoint.distance)
    metres = min(metres_between(*mat, one.lat, one.lng) for one in recent)
    return {"metres": round(metres)} if metres > DISAGREE_M else None
