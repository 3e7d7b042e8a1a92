"""Decides which runners and races a viewer may see, and until when."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from runners.models import Entry, Follow, Race, Runner, RunnerToken, ShareLink
from runners.models.runner import RunnerQuerySet, palette_colour, sharing_now
from runners.rights.token_lookup import user_of_session
from runners.rights.windows import (
    entries_open,
    visible_from,
    visible_races,
    window_end,
)
from runners.units.clock import milliseconds

# The page of all public runners shows those seen within this time.
LATELY = timedelta(hours=12)
# Older ends have already been applied.
LONG_PAST = timedelta(seconds=10)
PUBLIC = Race.Visibility.PUBLIC


@dataclass(frozen=True, slots=True)
class Viewer:
    """A client with its rights: primary keys, and the session's key."""

    user: int | None = None
    session: str | None = None
    token: int | None = None
    links: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """A runner that a viewer may see.

    `anybody`: everybody may see them. `begin`: from when on the viewer sees their
    positions, in milliseconds since the epoch. `until`: when the right ends by the
    clock, in seconds since the epoch (infinite if it does not).
    """

    pk: int
    code: str
    anybody: bool
    begin: int
    until: float


@dataclass(frozen=True, slots=True)
class AccessCheck:
    """A viewer with all subscriptions of their socket, to be checked."""

    viewer: Viewer
    publisher: int | None
    following: frozenset[int]
    races: frozenset[int]


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """The runners and races that a viewer may still see.

    `lost`, `lost_races` and `lost_links` map primary keys of the others, and of links
    that have ended, to the reasons of `access` events.
    """

    token: bool
    # Whether the token belongs to a different runner now.
    moved: bool
    session: bool
    grants: Sequence[Grant]
    lost: dict[int, str]
    lost_races: dict[int, str]
    lost_links: dict[int, str]
    recheck_at: float


def visible_runners(
    user_id: int | None = None, links: Collection[int] = ()
) -> RunnerQuerySet:
    """Return the runners that a user, a holder of links or a stranger may see now."""
    in_race = entries_open().filter(
        runner=OuterRef("pk"), race__in=visible_races(links)
    )
    allowed = Q(visibility=Runner.Visibility.PUBLIC) | Q(
        Exists(in_race), visibility=Runner.Visibility.RACE
    )
    if links:
        usable = ShareLink.objects.usable().filter(pk__in=links)
        allowed |= Q(Exists(usable.filter(runners=OuterRef("pk"))))
    if user_id is None:
        return Runner.objects.sharing().filter(allowed)
    follows = Follow.objects.filter(runner=OuterRef("pk"), user_id=user_id)
    allowed |= Q(Exists(follows.accepted()), visibility=Runner.Visibility.FOLLOWERS)
    blocked = Exists(follows.filter(status=Follow.Status.BLOCKED))
    return Runner.objects.filter(
        Q(account_id=user_id) | (allowed & sharing_now() & ~Q(blocked))
    )


def blockers_of(
    users: Collection[int], runners: Collection[int] | None = None
) -> dict[int, frozenset[int]]:
    """Map users to those of these runners, or of all, who have blocked them."""
    blocks = Follow.objects.filter(status=Follow.Status.BLOCKED)
    if runners is None:
        blocks = blocks.filter(user__in=users)
    else:
        # Select by runners, because there may be many users.
        blocks = blocks.filter(runner__in=runners)
    blockers: dict[int, set[int]] = {}
    for user, runner in blocks.values_list("user", "runner"):
        if user in users:
            blockers.setdefault(user, set()).add(runner)
    return {user: frozenset(of) for user, of in blockers.items()}


def topic_runners(race: int | None) -> RunnerQuerySet:
    """Return the runners that a race shows to everybody who may see the race.

    Without a race, these are the public runners who were seen recently.
    """
    if race is None:
        return Runner.objects.public().sharing().seen_since(timezone.now() - LATELY)
    shown = Entry.objects.shown().filter(race=race)
    in_window = entries_open().filter(race=race)
    return Runner.objects.sharing().filter(
        Q(visibility=Runner.Visibility.PUBLIC, pk__in=shown.values("runner"))
        | Q(visibility=Runner.Visibility.RACE, pk__in=in_window.values("runner"))
    )


def followable(
    viewer: Viewer, codes: Sequence[str], *, create: bool
) -> tuple[list[Grant], dict[str, str]]:
    """Return grants of the runners that may be followed, and refusals by code.

    With `create` (open mode), unknown codes become public runners. Refusals are error
    codes. Hidden runners are refused as unknown, like runners who do not exist; only
    users who have asked to follow them learn that they exist.
    """
    if create:
        known = set(
            Runner.objects.filter(code__in=codes).values_list("code", flat=True)
        )
        Runner.objects.bulk_create(
            [
                Runner(code=code, name=code, colour=palette_colour(code))
                for code in codes
                if code not in known
            ],
            ignore_conflicts=True,
        )
    runners = visible_runners(viewer.user, viewer.links).filter(code__in=codes)
    grants = _grants(runners, viewer.user, viewer.links)
    found = {grant.code for grant in grants}
    missing = [code for code in codes if code not in found]
    requested: set[str] = set()
    if missing and viewer.user is not None:
        # Blocked users get the response for unknown runners.
        answers = [Follow.Status.PENDING, Follow.Status.REFUSED]
        requested = set(
            Follow.objects.filter(
                user_id=viewer.user, runner__code__in=missing, status__in=answers
            ).values_list("runner__code", flat=True)
        )
    return grants, {
        code: "follow.forbidden" if code in requested else "runner.unknown"
        for code in missing
    }


def linked(viewer: Viewer, link: int) -> list[Grant]:
    """Return the single runners that one of the viewer's share links shows."""
    runners = visible_runners(viewer.user, viewer.links)
    return _grants(runners.filter(links=link), viewer.user, viewer.links)


def _grants(
    runners: RunnerQuerySet, user: int | None, links: Collection[int]
) -> list[Grant]:
    rows = list(runners.values_list("pk", "code", "visibility", "sharing_ends_at"))
    if not rows:
        # Saves 2.5 ms of 8 for a follow of 1,000 unknown codes.
        return []
    windows = _windows(
        [row[0] for row in rows if row[2] == Runner.Visibility.RACE], links
    )
    begins = visible_from([row[0] for row in rows], user, links)
    grants = []
    for pk, code, visibility, sharing_ends in rows:
        window_ends, anybody = windows.get(pk, (None, False))
        grants.append(
            Grant(
                pk,
                code,
                anybody=anybody or visibility == Runner.Visibility.PUBLIC,
                begin=milliseconds(begins[pk]),
                until=earliest([sharing_ends, window_ends]),
            )
        )
    return grants


def _windows(
    runners: Sequence[int], links: Collection[int]
) -> dict[int, tuple[datetime, bool]]:
    """Map runners to the end of their last open window and whether it is public."""
    windows: dict[int, tuple[datetime, bool]] = {}
    if runners:
        entries = entries_open().filter(
            runner__in=runners, race__in=visible_races(links)
        )
        for entry in entries.select_related("race", "runner").defer("race__line"):
            end, anybody = window_end(entry), entry.race.visibility == PUBLIC
            if before := windows.get(entry.runner_id):
                end, anybody = max(end, before[0]), anybody or before[1]
            windows[entry.runner_id] = end, anybody
    return windows


def earliest(moments: Iterable[datetime | None]) -> float:
    """Return the earliest moment in seconds since the epoch; infinite for none.

    Long past moments are ignored: they concern others only, because runners always see
    themselves.
    """
    past = timezone.now() - LONG_PAST
    return min(
        (m.timestamp() for m in moments if m is not None and m > past),
        default=math.inf,
    )


# -- reauthorization


def check_access(questions: Sequence[AccessCheck]) -> list[AccessDecision]:
    """Return the access decision of each socket."""
    return [_check_access(check) for check in questions]


def _check_access(check: AccessCheck) -> AccessDecision:
    viewer = check.viewer
    links = dict(
        ShareLink.objects.usable()
        .filter(pk__in=viewer.links)
        .values_list("pk", "expires_at")
    )
    ends: list[datetime | None] = [*links.values()]
    token, moved = True, False
    if viewer.token is not None:
        usable = RunnerToken.objects.usable().filter(pk=viewer.token)
        rows = list(usable.values_list("expires_at", "runner"))
        token = any(runner == check.publisher for _, runner in rows)
        moved = bool(rows) and not token and check.publisher is not None
        ends += [expires_at for expires_at, _ in rows]
    session = True
    if viewer.session is not None:
        session = user_of_session(viewer.session) == viewer.user
    grants = _grants(
        visible_runners(viewer.user, links).filter(pk__in=check.following),
        viewer.user,
        links,
    )
    lost = check.following - {grant.pk for grant in grants}
    return AccessDecision(
        token=token,
        moved=moved,
        session=session,
        grants=grants,
        lost=_reasons(viewer, lost) if lost else {},
        lost_races=_lost_races(check, links),
        lost_links=_lost_links(set(viewer.links) - links.keys()),
        recheck_at=min([earliest(ends), *(grant.until for grant in grants)]),
    )


def _lost_races(check: AccessCheck, links: Collection[int]) -> dict[int, str]:
    """Return the reasons why races are no longer visible, by primary key.

    Deleted races are left out: the topics report them.
    """
    if not check.races:
        return {}
    seen = visible_races(links).filter(pk__in=check.races)
    hidden = Race.objects.filter(pk__in=check.races).exclude(pk__in=seen.values("pk"))
    # Read once, before the links. A right that ends meanwhile gets its reason in the
    # next round.
    lost = list(hidden.values_list("pk", flat=True))
    ended = ShareLink.objects.filter(pk__in=check.viewer.links, race__in=lost)
    now = timezone.now()
    reason_of = {
        race: "expired" if revoked_at is None and expires_at <= now else "revoked"
        for race, revoked_at, expires_at in ended.values_list(
            "race", "revoked_at", "expires_at"
        )
    }
    return {race: reason_of.get(race, "private") for race in lost}


def _lost_links(ended: Collection[int]) -> dict[int, str]:
    """Return the reasons why share links have ended, by primary key."""
    if not ended:
        return {}
    expired = ShareLink.objects.filter(pk__in=ended, revoked_at=None)
    return dict.fromkeys(ended, "revoked") | dict.fromkeys(
        expired.values_list("pk", flat=True), "expired"
    )


def _reasons(viewer: Viewer, lost: Collection[int]) -> dict[int, str]:
    """Return the reasons of `access` events for runners who are no longer visible."""
    runners = {r.pk: r for r in Runner.objects.filter(pk__in=lost)}
    follows: dict[int, str] = {}
    if viewer.user is not None:
        follows = dict(
            Follow.objects.filter(user_id=viewer.user, runner__in=lost).values_list(
                "runner_id", "status"
            )
        )
    now = timezone.now()
    ended_links = ShareLink.objects.filter(pk__in=viewer.links)
    expired = set(
        ended_links.filter(expires_at__lte=now).values_list("runners", flat=True)
    )
    reasons = {}
    for pk in lost:
        runner = runners.get(pk)
        if runner is None:
            reasons[pk] = "deleted"
        elif follows.get(pk) == Follow.Status.BLOCKED:
            reasons[pk] = "blocked"
        elif (
            pk in expired
            or (runner.sharing_ends_at is not None and runner.sharing_ends_at <= now)
            or runner.visibility == Runner.Visibility.RACE
        ):
            reasons[pk] = "expired"
        elif runner.visibility == Runner.Visibility.PRIVATE and not viewer.links:
            reasons[pk] = "private"
        else:
            reasons[pk] = "revoked"
    return reasons
