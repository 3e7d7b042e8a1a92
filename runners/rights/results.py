"""Decides whom the standings of a race count and name for a viewer, and where."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from runners.models import Entry, Follow, Race, Runner
from runners.rights.access import visible_runners
from runners.rights.roles import Action, may
from runners.rights.windows import visible_from


def shown_in_standings(
    race: Race, user_id: int | None = None, links: Collection[int] = ()
) -> frozenset[int]:
    """Return the runners (primary keys) whom a race's standings count and name.

    For organisers these are all, so that their ranks are the official ones. Other
    viewers may see the race. Named are the runners they may see now, and finishers
    and DNFs, so that winners do not vanish an hour after their finish. Runners who are
    shown in races only are named until the race ends. Causes one query, and one more
    for a user.
    """
    if user_id is not None and _is_organiser(user_id, race):
        return frozenset(race.entries.values_list("runner", flat=True))
    shown = Entry.objects.shown().filter(race=race)
    named = Q(visibility=Runner.Visibility.PUBLIC)
    if timezone.now() < race.ends:
        named |= Q(visibility=Runner.Visibility.RACE)
    done = Q(pk__in=shown.filter(status__in=Entry.OVER).values("runner")) & named
    if user_id is not None:
        blocks = Follow.objects.filter(user=user_id, status=Follow.Status.BLOCKED)
        done &= ~Q(pk__in=blocks.values("runner"))
    seen = Q(pk__in=visible_runners(user_id, links).values("pk"))
    runners = Runner.objects.filter(seen | done, pk__in=shown.values("runner"))
    return frozenset(runners.values_list("pk", flat=True))


def seen_in_race_from(
    race: Race, user_id: int | None = None, links: Collection[int] = ()
) -> dict[int, float]:
    """Map runners to the time (s) from which a viewer sees their positions.

    Only those are included whom the viewer may not see for the whole race. Their splits
    are results, which the right includes; their progress is not. What was read before a
    runner erased their positions is nobody's to see. Causes one query, and up to seven
    more if the rights of some runners begin in the race.
    """
    limited = Runner.objects.filter(
        Q(public_from__gt=race.opens)
        | Q(erased_at__gt=race.opens)
        | Q(account__isnull=False, entries__shown_from__gt=race.opens)
        | Q(visibility__in=[Runner.Visibility.FOLLOWERS, Runner.Visibility.PRIVATE]),
        entries__race=race,
    )
    erased = dict(limited.values_list("pk", "erased_at"))
    if not erased:
        return {}
    if user_id is not None and _is_organiser(user_id, race):
        begins = dict.fromkeys(erased, race.opens)
    else:
        begins = visible_from(erased, user_id, links, race)
    found = {pk: max(begin, erased[pk] or begin) for pk, begin in begins.items()}
    return {pk: at.timestamp() for pk, at in found.items() if at > race.opens}


def _is_organiser(user_id: int, race: Race) -> bool:
    user = User.objects.filter(pk=user_id).first()
    return user is not None and may(user, race, Action.VIEW)
