"""The data of the desk about each runner and phone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Length
from django.utils import timezone

from runners.admin.desk.disagreements import Shows, disagreements
from runners.models import (
    Entry,
    LatestPosition,
    Phone,
    Race,
    RunnerToken,
    Sos,
)
from runners.models.sos import SosQuerySet
from runners.positions.running import live_status
from runners.rights.roles import (
    Action,
    AnyUser,
    actions_of,
    organises_all,
    runners_managed,
)
from runners.units.clock import milliseconds

# Phones with a contact within this time are shown even if their runner is not entered.
LATELY = timedelta(hours=6)
# Limit of these phones, because there may be many in open mode.
MOST_UNASSIGNED = 200


def _always(moment: datetime) -> bool:
    return True


def desk_of(race: Race, user: AnyUser) -> dict[str, Any]:
    """Return all data of the desk, times in milliseconds. Causes 9 to 11 queries.

    Positions are included only for those who may see them, that of a call for help
    for those who may handle it. Organisers of single races see of phones only what was
    sent in the time of the race. Those who issue tokens see before it too whether the
    phones of the runners whom they manage have been tested, but neither when nor where.
    """
    actions = actions_of(user, race)
    sees_all = organises_all(user)
    now = timezone.now()
    entries = list(
        Entry.objects.filter(race=race)
        .select_related("runner__latest", "wave")
        .order_by(Length("bib"), "bib")
    )
    tokens = (
        RunnerToken.objects.usable()
        .filter(runner__entries__race=race)
        .select_related("phone")
    )
    phones: dict[int, list[RunnerToken]] = {}
    for token in tokens:
        phones.setdefault(token.runner_id, []).append(token)
    managed: set[int] = set()
    if Action.ISSUE in actions:
        runners = runners_managed(user, Action.ISSUE).filter(entries__race=race)
        managed.update(runners.values_list("pk", flat=True))
    entry_of = {entry.runner_id: entry for entry in entries}
    shown = {e.pk: partial(_is_during, race, e) for e in entries if e.is_shown}
    disagree = disagreements(race, shown, actions)
    return {
        "time": milliseconds(now),
        "entries": [
            _entry(
                e,
                phones.get(e.runner_id, []),
                _always if sees_all else partial(_is_during, race, e),
            )
            | {"disagrees": disagree.get(e.pk)}
            | (_place(e, race) if Action.POSITIONS in actions else {})
            | _test(phones.get(e.runner_id, []), is_managed=e.runner_id in managed)
            for e in entries
        ],
        "unassigned": [_unassigned(token) for token in unassigned(race, user, now)],
        "sos": [
            _sos(sos, entry_of.get(sos.runner_id), may_help=Action.HELP in actions)
            for sos in open_calls(race, user)
        ],
    }


def unassigned(race: Race, user: AnyUser, now: datetime) -> Iterable[RunnerToken]:
    """Return recent phones of runners who are in no current race.

    Organisers of single races get none: they learn nothing of phones outside of them.
    """
    if not organises_all(user):
        return ()
    since = now - LATELY
    heard = Q(phone__contact_at__gt=since) | Q(
        last_used_at__gt=since, runner__latest__contact_at__gt=since
    )
    entered = Entry.objects.filter(
        Q(race=race) | Q(race__in=Race.objects.window_open(now))
    )
    found = (
        RunnerToken.objects.usable()
        .filter(heard)
        .exclude(runner__in=entered.values("runner"))
        .select_related("phone", "runner__latest")
        .order_by("-phone__contact_at", "-last_used_at")
    )
    return found[:MOST_UNASSIGNED]


def calls_of_desk(race: Race, user: AnyUser) -> SosQuerySet:
    """Return the calls for help of this race, and of runners in no current race.

    Those who organise single races get the latter of runners of this race only: a
    call during a different race is for the desk of that one.
    """
    entries = Entry.objects.all() if organises_all(user) else Entry.objects.shown()
    current = Race.objects.window_open()
    here = Q(runner__in=entries.filter(race=race).values("runner"))
    now = Q(runner__in=entries.filter(race__in=current).values("runner"))
    calls = Sos.objects.all()
    if organises_all(user):
        return calls.filter(here | ~now)
    return calls.filter(here if current.contains(race) else here & ~now)


def open_calls(race: Race, user: AnyUser) -> Iterable[Sos]:
    """Return open calls for help: of this race, then of runners in no current race.

    Only the last call of each runner is returned, to keep the desk readable. If it has
    no position, it gets that of the runner's previous call.
    """
    found = (
        calls_of_desk(race, user)
        .open()
        .annotate(is_here=Exists(race.entries.filter(runner=OuterRef("runner"))))
        .select_related("runner", "seen_by")
        .order_by("-is_here", "received_at", "pk")
    )
    calls: dict[int, Sos] = {}
    for sos in found:
        before = calls.pop(sos.runner_id, None)
        if before is not None and sos.placed_at is None:
            for field in ("lat", "lng", "accuracy", "placed_at"):
                setattr(sos, field, getattr(before, field))
        calls[sos.runner_id] = sos
    return calls.values()


def _sos(sos: Sos, entry: Entry | None, *, may_help: bool) -> dict[str, Any]:
    return {
        "id": sos.pk,
        "bib": entry.bib if entry else None,
        "name": sos.runner.name,
        "runner": sos.runner_id,
        "called": milliseconds(sos.called_at),
        "received": milliseconds(sos.received_at),
        "lat": sos.lat if may_help else None,
        "lng": sos.lng if may_help else None,
        "accuracy": sos.accuracy,
        "placed": sos.placed_at and milliseconds(sos.placed_at),
        "battery": sos.battery,
        "seen": sos.seen_at and milliseconds(sos.seen_at),
        "seen_by": sos.seen_by.get_username() if sos.seen_by else "",
    }


def _entry(entry: Entry, tokens: Iterable[RunnerToken], shows: Shows) -> dict[str, Any]:
    runner = entry.runner
    latest = getattr(runner, "latest", None) if entry.is_shown else None
    if latest is not None and not shows(latest.recorded_at):
        latest = None
    return {
        "id": entry.pk,
        "bib": entry.bib,
        "name": runner.name,
        "code": runner.code,
        "runner": runner.pk,
        "wave": entry.wave.name if entry.wave else "",
        "status": entry.status,
        "accepted": entry.is_shown,
        "state": live_status(entry.pk, entry.status, latest),
        **_signal(latest, shows),
        "progress": latest.progress if latest and _is_in(entry, latest) else None,
        **_phones(tokens if entry.is_shown else (), shows),
    }


def _is_in(entry: Entry, latest: LatestPosition) -> bool:
    """Return whether the progress is in this race, and not in one at the same time."""
    carried = latest.race_state
    return not carried or carried["entry"] == entry.pk


def _place(entry: Entry, race: Race) -> dict[str, Any]:
    """Return the position, if the runner has sent it in the time of the race."""
    latest: LatestPosition | None = getattr(entry.runner, "latest", None)
    if latest is None or not entry.is_shown:
        return {}
    if not _is_during(race, entry, latest.recorded_at):
        return {}
    return {"place": [latest.lng, latest.lat]}


def _test(tokens: Iterable[RunnerToken], *, is_managed: bool) -> dict[str, bool]:
    """Return whether a position of one of these phones was ever accepted."""
    if not is_managed:
        return {}
    phones = (token.phone for token in tokens if hasattr(token, "phone"))
    return {"tested": any(phone.fix_at is not None for phone in phones)}


def _is_during(race: Race, entry: Entry, moment: datetime) -> bool:
    """Return whether a moment is in the time in which a race shows a runner."""
    begin, end = entry.agreed
    return max(race.opens, begin) <= moment < min(race.ends, end)


def _unassigned(token: RunnerToken) -> dict[str, Any]:
    runner = token.runner
    return {
        "id": token.pk,
        "name": runner.name,
        "code": runner.code,
        "runner": runner.pk,
        "token": token.name,
        **_signal(getattr(runner, "latest", None), _always),
        **_phones([token], _always),
    }


def _signal(latest: LatestPosition | None, shows: Shows) -> dict[str, Any]:
    if latest is None:
        return dict.fromkeys(("fix", "contact", "battery", "accuracy", "source"))
    contact = latest.contact_at if shows(latest.contact_at) else None
    return {
        "fix": milliseconds(latest.recorded_at),
        "contact": contact and milliseconds(contact),
        "battery": latest.battery,
        "accuracy": latest.accuracy,
        "source": latest.source,
        "progress": latest.progress,
    }


def _phones(tokens: Iterable[RunnerToken], shows: Shows) -> dict[str, Any]:
    """Return the status of a runner's phones: that of the last contact."""
    tokens = list(tokens)
    phones: list[Phone] = [t.phone for t in tokens if hasattr(t, "phone")]
    shown = (phone for phone in phones if shows(phone.contact_at))
    phone = max(shown, key=lambda phone: phone.contact_at, default=None)
    refused_at = phone.refused_at if phone else None
    return {
        "phones": len(tokens),
        "app": phone.app if phone else "",
        "heard": milliseconds(phone.contact_at) if phone else None,
        "refused": phone.refused if phone else 0,
        "reasons": phone.reasons if phone else {},
        "reason": phone.last_reason if phone else "",
        "refused_at": refused_at and milliseconds(refused_at),
    }
