"""A runner's call for help: to the race office and the contacts they chose.

Its place passes by zones and pauses, for it goes nowhere else: no position is stored
and no follower's socket hears of it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from runners.models import Contact, Entry, News, Race, Runner, Sos, Subscription
from runners.models.news import Kind
from runners.notifying import mail
from runners.positions.fix import Fix

MOST_CONTACTS = 5
# Calls of a runner in an hour that contacts and followers are told of; the race office
# sees each.
MOST_TOLD = 3


class Call(NamedTuple):
    """What a phone says: `called` in milliseconds, battery in per cent.

    `fine`: the runner takes it back.
    """

    key: str
    called: int
    fix: Fix | None
    battery: float | None
    fine: bool


@transaction.atomic
def sos_take(*, runner: int, call: Call) -> Sos:
    """Take a call for help, or what is new of one; all who are to know are queued.

    The same again changes nothing but the place, if it is newer. Raises
    `Runner.DoesNotExist`.
    """
    now = timezone.now()
    Runner.objects.filter(pk=runner).only("pk").get()
    sos, is_new = Sos.objects.select_for_update().get_or_create(
        runner_id=runner,
        key=call.key,
        defaults={"called_at": min(_moment(call.called), now), "received_at": now},
    )
    _place(sos, call)
    took_back = call.fine and sos.fine_at is None
    if took_back:
        sos.fine_at = now
    sos.save()
    if is_new and not call.fine:
        lately = Sos.objects.filter(
            runner=runner, received_at__gt=now - timedelta(hours=1)
        )
        if lately.count() <= MOST_TOLD:
            _tell(sos, Kind.SOS, sos.called_at)
    elif took_back and News.objects.filter(sos=sos).exists():
        _tell(sos, Kind.FINE, now)
    return sos


def _place(sos: Sos, call: Call) -> None:
    if call.battery is not None:
        sos.battery = call.battery
    fix = call.fix
    if fix is None or (sos.placed_at is not None and _moment(fix.t) <= sos.placed_at):
        return
    sos.lat, sos.lng, sos.accuracy = fix.lat, fix.lng, fix.accuracy
    sos.placed_at = _moment(fix.t)
    if fix.battery is not None:
        sos.battery = fix.battery


def _tell(sos: Sos, kind: Kind, at: datetime) -> None:
    now = timezone.now()
    entry = (
        Entry.objects.filter(
            runner=sos.runner_id, race__in=Race.objects.window_open(now)
        )
        .order_by("-race__start")
        .first()
    )
    News.objects.bulk_create(
        [
            News(
                kind=kind,
                once=f"{kind} {sos.pk}",
                runner_id=sos.runner_id,
                entry=entry,
                sos=sos,
                at=at,
            )
        ],
        ignore_conflicts=True,
    )


def sos_acknowledge(*, sos: Sos, by: User) -> None:
    """Note who of the race office has seen it first; the runner's phone says so."""
    if sos.seen_at is None:
        sos.seen_at, sos.seen_by = timezone.now(), by
        sos.save(update_fields=["seen_at", "seen_by"])


def sos_close(*, sos: Sos) -> None:
    """End it on the desk."""
    if sos.closed_at is None:
        sos.closed_at = timezone.now()
        sos.save(update_fields=["closed_at"])


@transaction.atomic
def contact_add(
    *, runner: Runner, email: str, user: User | None, language: str
) -> Contact:
    """Choose a contact; an address is told. Raises OSError without a mail server."""
    contact, is_new = Contact.objects.get_or_create(
        runner=runner, email=email, user=user, defaults={"language": language}
    )
    if is_new and email:
        mail.contact_mail(contact).send()
    return contact


def contacts_of(runner: Runner) -> QuerySet[Contact]:
    """Return the contacts; `is_reached`: of an account, whether it is told anywhere."""
    places = Subscription.objects.filter(
        user=OuterRef("user"), user__is_active=True, confirmed_at__isnull=False
    )
    return runner.contacts.select_related("user").annotate(is_reached=Exists(places))


def _moment(t: int) -> datetime:
    return datetime.fromtimestamp(t / 1000, UTC)
