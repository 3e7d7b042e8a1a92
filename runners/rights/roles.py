"""Decides what an account may do in the race office, and for which races.

The admin, the desk, the HTTP API and webhooks ask here. On a websocket and on the pages
of spectators a role gives no right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from django.contrib.auth.models import AnonymousUser, User
from django.db import models, transaction
from django.db.models import Exists, OuterRef

from runners.models import Entry, LatestPosition, Position, Race, RaceRole, Runner
from runners.models.race import RaceQuerySet
from runners.models.race_role import Role
from runners.models.runner import RunnerQuerySet


class Action(models.TextChoices):
    VIEW = "view", "See the race, its desk, official results, progress on the course"
    STATUS = "status", "Mark DNF, DNS, disqualified, back in"
    HELP = "help", "See where a call for help is, acknowledge and close it"
    POSITIONS = "positions", "See on the map the positions sent during the race"
    TIMES = "times", "Set times by hand; chips, stations and passings of mats"
    ENTER = "enter", "Change entries and the start list"
    ISSUE = "issue", "Issue tokens and print codes for phones"
    SWAP = "swap", "Swap phones, revoke tokens"
    EDIT = "edit", "Change the race, its course, waves, checkpoints, share links"
    SYSTEMS = "systems", "Make API keys and webhooks, which have the same rights"
    PEOPLE = "people", "Add, change and remove people"
    DELETE = "delete", "Delete the race"


OWNER, OFFICE, TIMING = Role.OWNER, Role.OFFICE, Role.TIMING
AID, MEDIC, READ = Role.AID, Role.MEDIC, Role.READ
# The roles that may do each action. docs/organising.md has the same table.
ROLES: dict[Action, frozenset[Role]] = {
    Action.VIEW: frozenset({OWNER, OFFICE, TIMING, AID, MEDIC, READ}),
    Action.STATUS: frozenset({OWNER, OFFICE, TIMING, AID, MEDIC}),
    Action.HELP: frozenset({OWNER, OFFICE, MEDIC}),
    Action.POSITIONS: frozenset({OWNER, OFFICE, MEDIC}),
    Action.TIMES: frozenset({OWNER, OFFICE, TIMING}),
    Action.ENTER: frozenset({OWNER, OFFICE}),
    Action.ISSUE: frozenset({OWNER, OFFICE}),
    Action.SWAP: frozenset({OWNER, OFFICE}),
    Action.EDIT: frozenset({OWNER, OFFICE}),
    Action.SYSTEMS: frozenset({OWNER, OFFICE, TIMING}),
    Action.PEOPLE: frozenset({OWNER}),
    Action.DELETE: frozenset({OWNER}),
}
# Django's permission with which an organiser of all races may do it in each of them.
PERMISSIONS: dict[Action, str] = {
    **dict.fromkeys(Action, "change_race"),
    Action.ISSUE: "add_runnertoken",
    Action.SWAP: "change_runnertoken",
    Action.SYSTEMS: "add_apikey",
    Action.PEOPLE: "change_racerole",
    Action.DELETE: "delete_race",
}
AnyUser = User | AnonymousUser
P = TypeVar("P", Position, LatestPosition)


def organises_all(user: AnyUser) -> bool:
    """Return whether an account organises all races: by a permission, not by roles."""
    return user.is_active and user.is_staff and user.has_perm("runners.change_race")


def actions_of(user: AnyUser, race: Race) -> frozenset[Action]:
    """Return what an account may do for a race."""
    if not (user.is_active and user.is_staff):
        return frozenset()
    held = RaceRole.objects.filter(user=user.pk, race=race.pk)
    role = held.values_list("role", flat=True).first()
    return frozenset(
        action
        for action in Action
        if role in ROLES[action] or may_everywhere(user, action)
    )


def may(user: AnyUser, race: Race, action: Action) -> bool:
    """Return whether an account may do something for a race."""
    return races_of(user, action).filter(pk=race.pk).exists()


def races_of(user: AnyUser, action: Action = Action.VIEW) -> RaceQuerySet:
    """Return the races for which an account may do something."""
    if not (user.is_active and user.is_staff):
        return Race.objects.none()
    if may_everywhere(user, action):
        return Race.objects.all()
    held = RaceRole.objects.filter(user=user.pk, role__in=ROLES[action])
    return Race.objects.filter(pk__in=held.values("race"))


def may_somewhere(user: AnyUser, action: Action) -> bool:
    """Return whether an account may do something for any race."""
    if not (user.is_active and user.is_staff):
        return False
    by_role = not ROLES[action].isdisjoint(_roles_held(user))
    return by_role or may_everywhere(user, action)


def _roles_held(user: AnyUser) -> set[str]:
    """Return the roles of an account, read once per request as Django's permissions."""
    held: set[str] | None = getattr(user, "_roles_held", None)
    if held is None:
        rows = RaceRole.objects.filter(user=user.pk)
        held = set(rows.values_list("role", flat=True))
        user._roles_held = held  # type: ignore[union-attr]
    return held


def may_everywhere(user: AnyUser, action: Action) -> bool:
    """Return whether an account may do something for all races, by a permission."""
    return organises_all(user) and user.has_perm(f"runners.{PERMISSIONS[action]}")


# -- runners, who may be in races of several organisers


def runners_of(user: AnyUser, action: Action) -> RunnerQuerySet:
    """Return the runners whom races show to an account that may do something there.

    A runner with an account has to accept an entry first.
    """
    entries = Entry.objects.shown().filter(race__in=races_of(user, action))
    return Runner.objects.filter(pk__in=entries.values("runner"))


def runners_managed(user: AnyUser, action: Action) -> RunnerQuerySet:
    """Return the runners without an account who are in races of this account only."""
    if may_everywhere(user, action):
        return Runner.objects.all()
    others = Entry.objects.exclude(race__in=races_of(user, action))
    managed = runners_of(user, action).filter(account=None)
    return managed.exclude(pk__in=others.values("runner"))


def seen_in_races(rows: models.QuerySet[P], races: RaceQuerySet) -> models.QuerySet[P]:
    """Return the positions that runners of these races sent in the time of the race."""
    entries = Entry.objects.shown().filter(race__in=races)
    during = entries.open_at(OuterRef("recorded_at")).filter(runner=OuterRef("runner"))
    return rows.filter(Exists(during), runner__in=entries.values("runner"))


def codes_of_others(codes: Iterable[str], races: RaceQuerySet) -> set[str]:
    """Return those of the codes whose runners a start list must not take.

    They have no account, and are in none of these races.
    """
    others = Runner.objects.filter(code__in=codes, account=None)
    others = others.exclude(entries__race__in=races)
    return set(others.values_list("code", flat=True))


# -- people


@transaction.atomic
def role_set(*, race: Race, user: User, role: Role) -> RaceRole:
    """Give an account a role in a race, instead of the one that it has."""
    held, _ = RaceRole.objects.update_or_create(
        race=race, user=user, defaults={"role": role}
    )
    if not user.is_staff:
        # Without a role or a permission, the race office shows nothing.
        user.is_staff = True
        user.save(update_fields=["is_staff"])
    return held
